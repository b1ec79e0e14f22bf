# Copyright (c) 2026, Lastro maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes that are known, where plain API keys go, and who is told."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of the module `api_key` that have suboptions of their own."""

    DOCUMENTATION = r"""
options:
  hashes:
    description: For O(state=imported), keys of which only the hashes are known.
    type: list
    elements: dict
    default: []
    suboptions:
      hash:
        description: HMAC-SHA256 of the key, in hex.
        type: str
        required: true
      pepper_version:
        description: The pepper it was made with, 0 for O(salt). The newest when not given.
        type: int
      name:
        description: What people call it.
        type: str
        default: ""
      tenant:
        description: Whose it is.
        type: str
        default: ""
      scopes:
        description: What it may do.
        type: list
        elements: str
        default: []
      expires:
        description: Until when it is good, as V(2027-01-31T00:00:00Z).
        type: str
      environment:
        description: The environment it was made for.
        type: str
  sink:
    description: Where plain keys go, and nowhere else.
    type: dict
    suboptions:
      type:
        description:
          - V(file) is a file of mode 0600 on the controller, a YAML mapping where its name ends with C(.yml) or C(.yaml), else JSON lines.
          - V(vault_file) is a YAML mapping encrypted by ansible-vault with a password of this run.
          - V(kv) is a secret of the KV engine, version 2, of OpenBao or HashiCorp Vault. All keys are in one secret, whose field C(keys) is
            JSON text. Integrated storage takes 1 MiB, some 1,700 keys that are rotated at once, unless its C(max_entry_size) is raised; a request
            takes 32 MiB, some 50,000. More is refused before anything is rotated.
          - V(aws_secrets_manager) is a secret of AWS, by the collection amazon.aws and boto3. AWS takes 64 KiB, about 110 keys.
            Not tested against AWS itself.
        type: str
        required: true
        choices: [file, vault_file, kv, aws_secrets_manager]
      path:
        description: Path of the file, or of the secret.
        type: str
        required: true
      vault_id:
        description: For V(vault_file), the vault identity to encrypt with. The first of the run when not given.
        type: str
      address:
        description: For V(kv), the server, as C(https://bao.example.com:8200). Plain HTTP is taken from this machine only.
        type: str
      mount:
        description: For V(kv), where the engine is mounted.
        type: str
        default: secret
      namespace:
        description: For V(kv), the namespace.
        type: str
      token_file:
        description: For V(kv), a file with the token.
        type: path
      token_variable:
        description: For V(kv), without a file, the variable of the controller's environment that has the token.
        type: str
        default: BAO_TOKEN
      ca_file:
        description: For V(kv), the CA of the server. The system's when not given.
        type: path
      region:
        description: For V(aws_secrets_manager), the region.
        type: str
      profile:
        description: For V(aws_secrets_manager), the profile of the credentials.
        type: str
  notify:
    description: Who is told after a rotation or revocation. It has ids, prefixes and when the old keys end; nothing secret. Three tries each; a
      failure is a warning and undoes nothing.
    type: dict
    default: {}
    suboptions:
      webhooks:
        description: URLs that get it as JSON by POST.
        type: list
        elements: str
        default: []
      slack:
        description: Incoming webhooks of Slack.
        type: list
        elements: str
        default: []
      mail:
        description: A mail.
        type: dict
        suboptions:
          host:
            description: The mail server.
            type: str
            required: true
          port:
            description: Its port.
            type: int
            default: 25
          sender:
            description: From whom.
            type: str
            required: true
          to:
            description: To whom.
            type: list
            elements: str
            required: true
          starttls:
            description: Whether to insist on TLS.
            type: bool
            default: true
          user:
            description: Login, taken over TLS only.
            type: str
          password:
            description: Its password.
            type: str
          ca_file:
            description: The CA of the server. The system's when not given.
            type: path
"""
