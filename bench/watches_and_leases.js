// The client of bench/watches_and_leases.sh: raw gRPC, the same against Capstan and etcd.
//
//   node watches_and_leases.js HOST:PORT PID COUNT
//
// PID is the server's: its memory and processor time are read where a figure names them. The modules
// come from NODE_PATH (tests/node/npm).
'use strict';

const fs = require('fs');
const path = require('path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [address, pid, count] = [process.argv[2], process.argv[3], Number(process.argv[4])];
const protos = path.join(path.dirname(require.resolve('etcd3/package.json')), 'proto', 'rpc.proto');
const api = grpc.loadPackageDefinition(loader.loadSync(protos, {longs: Number, defaults: true})).etcdserverpb;
const options = {'grpc.max_receive_message_length': -1};
const open = (service) => new service(address, grpc.credentials.createInsecure(), options);
const kv = open(api.KV), watch = open(api.Watch), lease = open(api.Lease);

const kInFlight = 64, kStreams = 10, kPuts = 10000, kFanOut = 10000;
const kTtl = 120;

const call = (client, method, request) =>
  new Promise((done, fail) => client[method](request, (e, reply) => (e ? fail(e) : done(reply))));
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const now = () => Number(process.hrtime.bigint()) / 1e6;
const anonymous = () =>
  Number(/RssAnon:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024;
// Of all its threads, in ms.
const processor = () => {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
};
const say = (what, value) => console.log(`${what.padEnd(58)} ${value}`);
const mib = (value) => `${value.toFixed(1)} MiB`;

// `each(i)` for every i below `n`, kInFlight at a time; the time each took, ascending.
async function all(n, each) {
  const times = [];
  let next = 0;
  const worker = async () => {
    while (next < n) {
      const i = next++, began = now();
      await each(i);
      times.push(now() - began);
    }
  };
  await Promise.all(Array.from({length: kInFlight}, worker));
  return times.sort((a, b) => a - b);
}
const at = (times, share) => `${times[Math.floor(times.length * share)].toFixed(2)} ms`;
const percentiles = (times) => `p50 ${at(times, 0.5)}, p99 ${at(times, 0.99)}`;
const put = (key, value, id) => call(kv, 'put', {key: Buffer.from(key), value: Buffer.from(value), lease: id || 0});

async function watches() {
  say(`puts, ${kInFlight} at a time, nobody watching`, percentiles(await all(kPuts, (i) => put(`w/${i}`, 'a'))));
  const before = anonymous();
  let created = 0, events = 0, wanted = 0, reached = null;
  const arrived = (n) => new Promise((done) => ((wanted = n), (reached = done)));
  const streams = Array.from({length: kStreams}, () => watch.watch());
  for (const stream of streams) {
    stream.on('error', () => {});
    stream.on('data', (m) => {
      if (m.created) ++created;
      if (m.canceled) throw new Error(`canceled: ${m.cancelReason || m.cancel_reason}`);
      events += m.events.length;
      if (reached && created + events >= wanted) reached();
    });
  }
  let began = now(), all_there = arrived(count);
  for (let i = 0; i < count; ++i) {
    streams[i % kStreams].write({createRequest: {key: Buffer.from(`w/${i}`)}});
  }
  await all_there;
  say(`${count} watches, each of a key of its own: made in`, `${((now() - began) / 1000).toFixed(2)} s`);
  await pause(2000);
  const held = anonymous() - before;
  say('memory for them', `${mib(held)}, ${Math.round((held * 1048576) / count)} bytes each`);
  const used = processor();
  await pause(5000);
  say('processor time in 5 s of silence', `${processor() - used} ms`);
  began = now();
  all_there = arrived(count + kPuts);
  say(`puts, ${kInFlight} at a time, each watched`, percentiles(await all(kPuts, (i) => put(`w/${i}`, 'b'))));
  await all_there;
  say(`${kPuts} puts, and all their events here`, `${((now() - began) / 1000).toFixed(2)} s`);

  all_there = arrived(count + kPuts + kFanOut);
  for (let i = 0; i < kFanOut; ++i) streams[i % kStreams].write({createRequest: {key: Buffer.from('hot')}});
  await all_there;
  const times = [];
  for (let i = 1; i <= 20; ++i) {
    all_there = arrived(count + kPuts + (i + 1) * kFanOut);
    began = now();
    await put('hot', `${i}`);
    await all_there;
    times.push(now() - began);
  }
  times.sort((a, b) => a - b);
  say(`one put that ${kFanOut} watches see, until the last is here`, `p50 ${at(times, 0.5)}, most ${at(times, 0.999)}`);
  for (const stream of streams) stream.cancel();
  await pause(5000);
  say('memory 5 s after the watchers went', `${mib(anonymous() - before)} above the beginning`);
}

async function leases() {
  const before = anonymous();
  let began = now();
  await all(count, (i) => call(lease, 'leaseGrant', {TTL: kTtl, ID: i + 1}));
  say(`${count} leases granted, ${kInFlight} at a time`, `${Math.round((count * 1000) / (now() - began))} a second`);
  await pause(2000);
  const held = anonymous() - before;
  say('memory for them', `${mib(held)}, ${Math.round((held * 1048576) / count)} bytes each`);
  began = now();
  await all(count, (i) => put(`l/${i}`, 'a', i + 1));
  say('a key put under each', `${Math.round((count * 1000) / (now() - began))} a second`);
  const streams = Array.from({length: kStreams}, () => lease.leaseKeepAlive());
  let answers = 0;
  began = now();
  await new Promise((done) => {
    for (const stream of streams) {
      stream.on('error', () => {});
      stream.on('data', (m) => {
        if (Number(m.TTL) !== kTtl) throw new Error(`a lease has ${m.TTL} s`);
        if (++answers === count) done();
      });
    }
    for (let i = 0; i < count; ++i) streams[i % kStreams].write({ID: i + 1});
  });
  const alive = now();
  say(`one sign of life for each, over ${kStreams} streams`, `${Math.round((count * 1000) / (alive - began))} a second`);
  const used = processor();
  await pause(10000);
  say('processor time in 10 s with all of them alive', `${processor() - used} ms`);
  for (const stream of streams) stream.cancel();
  const left = async () =>
    Number((await call(kv, 'range', {key: Buffer.from('l/'), rangeEnd: Buffer.from('l0'), countOnly: true, serializable: true})).count);
  let first = 0;
  const puts = [];
  for (;;) {
    const sent = now();
    await put('beside', 'a');
    const keys = await left();
    if (keys < count) {
      if (first === 0) first = now();
      puts.push(now() - sent);
    }
    if (keys === 0) break;
    await pause(keys < count ? 5 : 200);
  }
  say('all of them end: the first, after the last sign of life', `${((first - alive) / 1000).toFixed(1)} s (time to live ${kTtl} s)`);
  say('from the first key gone to the last', `${((now() - first) / 1000).toFixed(2)} s`);
  puts.sort((a, b) => a - b);
  say('a put and a count meanwhile', `${percentiles(puts)}, most ${at(puts, 0.9999)}`);
}

watches()
  .then(leases)
  .then(() => process.exit(0))
  .catch((e) => {
    console.error(e);
    process.exit(1);
  });
