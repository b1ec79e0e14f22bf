// Copyright (c) 2026, Lastro maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// The traffic that a release has to get through, for k6: tests/traffic.py starts it and says what the variables are.
// Each request is counted here and written down as one line of JSON, because k6 can sum up only by names it knows beforehand: a release is none.

import crypto from 'k6/crypto';
import exec from 'k6/execution';
import http from 'k6/http';
import { Counter, Trend } from 'k6/metrics';
import ws from 'k6/ws';

const urls = JSON.parse(__ENV.URLS);
const rates = JSON.parse(__ENV.RATES);
const scale = Number(__ENV.SCALE);
const headers = __ENV.HOST ? { Host: __ENV.HOST } : {};
const kinds = Object.keys(rates);
const [eventsSeconds, socketsSeconds] = JSON.parse(__ENV.STREAMS);
// How long one takes when all is well, in seconds.
const takes = { short: 0, fresh: 0, slow: 2 * scale, upload: 1, events: eventsSeconds, sockets: socketsSeconds };
// So much later all answers may come before k6 has nobody left to send a request, and drops it.
const LATER_SECONDS = 3;
const TIMEOUT_SECONDS = 20;

const begun = new Counter('begun');
const failed = new Counter('failed');
const told = new Counter('told_to_reconnect');
const took = new Trend('took');

function scenario(kind) {
  return {
    executor: 'constant-arrival-rate',
    exec: kind,
    duration: `${__ENV.SECONDS}s`,
    rate: Math.round(rates[kind] * 60),
    timeUnit: '60s',
    preAllocatedVUs: Math.ceil(rates[kind] * (takes[kind] + LATER_SECONDS)) + 1,
    gracefulStop: `${Math.ceil(takes[kind]) + 2 * TIMEOUT_SECONDS}s`,
  };
}

const each = (metric) => kinds.map((kind) => [`${metric}{kind:${kind}}`, []]);

export const options = {
  scenarios: Object.fromEntries(kinds.map((kind) => [kind, scenario(kind)])),
  // Without a threshold k6 keeps no figure by tag; an empty one is always met.
  thresholds: Object.fromEntries(['begun', 'failed', 'told_to_reconnect', 'took'].flatMap(each)),
  summaryTrendStats: ['count', 'p(50)', 'p(95)', 'p(99)', 'max'],
  systemTags: [],
  insecureSkipTLSVerify: true,
};

function begin(kind) {
  begun.add(1, { kind });
  return { kind, url: urls[exec.scenario.iterationInTest % urls.length], at: Date.now() };
}

function end(request, release, error, reconnect = false) {
  // What k6 says when it was told to stop itself: neither good nor failed.
  if (error.includes('context canceled')) return;
  const { kind, url, at } = request;
  const tags = { kind };
  took.add(Date.now() - at, tags);
  if (error) failed.add(1, tags);
  if (reconnect) told.add(1, tags);
  console.log(JSON.stringify({ at, kind, release, ...(error ? { url, error } : {}) }));
}

function ask(kind, path, more = {}, body = null) {
  const request = begin(kind);
  const params = { headers: { ...headers, ...more }, timeout: `${Math.ceil(takes[kind]) + TIMEOUT_SECONDS}s` };
  const answer = http.request(body ? 'POST' : 'GET', request.url + path, body, params);
  const good = answer.status === 200 && !answer.error;
  const release = answer.headers['X-Release'] || '';
  return { request, answer, release, error: good ? '' : `${answer.status} ${answer.error} ${(answer.body || '').slice(0, 200)}` };
}

function version(kind, more) {
  const { request, answer, error } = ask(kind, '/version', more);
  end(request, error ? '' : answer.json('release'), error);
}

export const short = () => version('short', {});

// A user of its own scenario has no connection that is kept, so this opens one.
export const fresh = () => version('fresh', { Connection: 'close' });

export function slow() {
  const { request, release, error } = ask('slow', `/traffic/slow?seconds=${takes.slow}`);
  end(request, release, error);
}

let content;
let digest;

export function upload() {
  if (!content) {
    // Made by those who send it: what stands outside a function is made for every user of every scenario.
    content = new Uint8Array(20e6 * scale).fill(108).buffer;
    digest = crypto.sha256(content, 'hex');
  }
  const { request, answer, release, error } = ask('upload', '/traffic/upload', {}, content);
  end(request, release, error || (answer.json('sha256') === digest ? '' : `arrived as ${answer.body}`));
}

export function events() {
  const { request, answer, release, error } = ask('events', `/traffic/events?seconds=${takes.events}`);
  const last = /event: (end|reconnect)\ndata: .*\n\n$/.exec(answer.body || '');
  end(request, release, error || (last ? '' : `cut after ${answer.body.slice(-100)}`), last !== null && last[1] === 'reconnect');
}

export function sockets() {
  const until = Date.now() + takes.sockets * 1000;
  while (session(until)) {
    // Told to reconnect: at once.
  }
}

// One connection, a message a second, each of them echoed. True when the server wants another connection.
function session(until) {
  const request = begin('sockets');
  let [sent, echoed, code, error] = [0, 0, 0, ''];
  const params = { headers };
  const answer = ws.connect(`${request.url.replace(/^http/, 'ws')}/traffic/socket`, params, (socket) => {
    const send = () => echoed === sent && socket.send(`${++sent}`);
    socket.on('open', () => {
      send();
      socket.setInterval(send, 1000);
      socket.setTimeout(() => {
        error = 'no echo';
        socket.close(1000);
      }, Math.max(0, until - Date.now()) + TIMEOUT_SECONDS * 1000);
    });
    socket.on('message', (text) => {
      if (text !== `${sent}`) error = `${text} came back for ${sent}`;
      echoed = sent;
      if (Date.now() >= until) socket.close(1000);
    });
    socket.on('close', (given) => {
      code = given;
    });
    socket.on('error', (given) => {
      error = error || given.error();
    });
  });
  const reconnect = code === 1012;
  if (answer.status !== 101) error = `${answer.status} ${answer.error || error} ${answer.body}`;
  // A last message may have met a closed connection.
  else if (reconnect) error = '';
  // k6 closes with 1001 when it was told to stop; whether it was, the next request says.
  else if (code === 1001) error = http.get(request.url).error.includes('context canceled') ? 'context canceled' : 'closed with 1001';
  else if (code !== 1000) error = error || `closed with ${code}`;
  end(request, (answer.headers || {})['X-Release'] || '', error, reconnect);
  return reconnect && Date.now() < until;
}

export function handleSummary({ metrics, state }) {
  const count = (name) => (metrics[name] ? metrics[name].values.count : 0);
  const figures = (kind) => {
    const { 'p(50)': p50, 'p(95)': p95, 'p(99)': p99, max, count: requests } = metrics[`took{kind:${kind}}`].values;
    const reconnects = count(`told_to_reconnect{kind:${kind}}`);
    const unfinished = count(`begun{kind:${kind}}`) - requests;
    return { requests, failed: count(`failed{kind:${kind}}`), told_to_reconnect: reconnects, unfinished, p50_ms: p50, p95_ms: p95, p99_ms: p99, max_ms: max };
  };
  const summary = {
    requests: metrics.took ? metrics.took.values.count : 0,
    failed: count('failed'),
    dropped: count('dropped_iterations'),
    seconds: state.testRunDurationMs / 1000,
    kinds: Object.fromEntries(kinds.map((kind) => [kind, figures(kind)])),
  };
  return { [__ENV.SUMMARY]: JSON.stringify(summary) };
}
