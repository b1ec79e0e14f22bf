#!/bin/bash
# Make a repository laid out as Docker's own, signed by a key of its own, from the distribution's packages under Docker's names.
set -eu
folder=$1
export DEBIAN_FRONTEND=noninteractive
apt-get -q update >/dev/null
apt-get -qy install --no-install-recommends gnupg apt-utils >/dev/null
mkdir -p "$folder/pool" /tmp/parts && cd /tmp/parts
apt-get -q download docker.io docker-cli containerd runc docker-compose >/dev/null

# repack NAME DEPENDS PACKAGE…: the files of the packages in one of another name
repack() {
  local name=$1 depends=$2 part
  shift 2
  mkdir "$name"
  for part in "$@"; do dpkg-deb --raw-extract "$part"_*.deb "$part.tree"; done
  mv "$1.tree"/* "$name/"
  shift
  for part in "$@"; do rm -r "$part.tree/DEBIAN" && cp -a "$part.tree/." "$name/"; done
  sed -i -e "s/^Package:.*/Package: $name/" -e "s/^Depends:.*/Depends: $depends/" \
    -e '/^\(Breaks\|Conflicts\|Replaces\|Recommends\|Suggests\|Built-Using\|Source\):/d' -e '/^ /{/,$/d}' "$name/DEBIAN/control"
  # Not compressed: it is read once.
  dpkg-deb -Znone --build "$name" "$folder/pool/" >/dev/null
}
repack docker-ce "containerd.io, docker-ce-cli, iptables, libc6, libsystemd0" docker.io
repack docker-ce-cli "libc6" docker-cli
repack containerd.io "libc6, libseccomp2" containerd runc
repack docker-compose-plugin "docker-ce-cli" docker-compose

cd "$folder"
mkdir -p dists/trixie/stable/binary-amd64
apt-ftparchive packages pool >dists/trixie/stable/binary-amd64/Packages
apt-ftparchive -o APT::FTPArchive::Release::Suite=trixie -o APT::FTPArchive::Release::Codename=trixie \
  -o APT::FTPArchive::Release::Components=stable -o APT::FTPArchive::Release::Architectures=amd64 release dists/trixie >Release
mv Release dists/trixie/
for name in ours theirs; do
  gpg --batch --quiet --passphrase '' --quick-generate-key "$name" ed25519 sign 1d
  gpg --armor --export "$name" >"$name.asc"
done
gpg --batch --quiet --local-user ours --clearsign --output dists/trixie/InRelease dists/trixie/Release
rm -rf /var/lib/apt/lists/*
