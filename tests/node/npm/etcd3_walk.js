// The npm client etcd3, as people use it, against whatever speaks etcd's API: a store that holds
// nothing yet. Says what it saw, without what differs from run to run (ids, revisions, times).
//
//   node etcd3_walk.js HOST:PORT kv|txn|lease|lock|watch|election|maintenance|auth
'use strict';

const { Etcd3, Range } = require('etcd3');

const [address, part] = process.argv.slice(2);
const hosts = 'http://' + address;
const client = new Etcd3({ hosts });
const say = (...words) => console.log(...words.map((w) => (typeof w === 'string' ? w : JSON.stringify(w))));
// The name of what went wrong, and where the server said it, its words.
const refused = (promise) => promise.then(() => 'accepted', (e) => `${e.name}: ${e.message}`.replace(/[0-9]{6,}/g, 'ID'));
const event = (emitter, name) => new Promise((resolve) => emitter.once(name, resolve));

const parts = {
  async kv() {
    say('missing', await client.get('npm/none').string());
    await client.put('npm/a').value('1');
    await client.put('npm/b').value('2');
    await client.put('npm/c').value(Buffer.from([0, 255, 10]));
    say('get', await client.get('npm/a').string(), await client.get('npm/a').number());
    say('bytes', (await client.get('npm/c').buffer()).toString('hex'));
    say('all', Object.keys(await client.getAll().prefix('npm/').buffers()));
    say('keys', await client.getAll().prefix('npm/').sort('Key', 'Descend').limit(2).keys());
    say('range', await client.getAll().inRange({ start: 'npm/a', end: 'npm/c' }).strings());
    say('count', await client.getAll().prefix('npm/').count());
    say('exists', await client.get('npm/a').exists(), await client.get('npm/none').exists());
    const before = await client.put('npm/a').value('3').getPrevious();
    say('previous', before.value.toString(), before.version);
    await client.put('npm/a').touch();
    const response = await client.get('npm/a').exec();
    say('touched', response.kvs[0].value.toString(), response.kvs[0].version, response.count, response.more);
    const old = Number(response.header.revision) - 1;
    say('then', await client.get('npm/a').revision(old - 1).string());
    say('serializable', await client.get('npm/a').serializable(true).string());
    const gone = await client.delete().key('npm/a').getPrevious();
    say('deleted', gone.length, gone[0].value.toString());
    const rest = await client.delete().prefix('npm/').exec();
    say('deleted', rest.deleted);
    say('empty key', await refused(client.put('').value('x').exec()));
    say('future', await refused(client.get('npm/a').revision(1000000).exec()));
    const ns = client.namespace('npm/ns/');
    await ns.put('k').value('v');
    say('namespace', await client.get('npm/ns/k').string(), await ns.getAll().strings());
    await ns.delete().all();
  },

  async txn() {
    const once = () =>
      client.if('npm/t', 'Create', '==', 0).then(client.put('npm/t').value('first'))
        .else(client.get('npm/t')).commit();
    const first = await once();
    const second = await once();
    say('txn', first.succeeded, second.succeeded, second.responses[0].response_range.kvs[0].value.toString());
    const both = await client.if('npm/t', 'Value', '==', 'first').and('npm/t', 'Version', '<', 2)
      .then(client.put('npm/t').value('second'), client.delete().key('npm/none')).commit();
    say('both', both.succeeded, both.responses.map((r) => r.response));
    say('twice', await refused(client.if('npm/t', 'Version', '>', 0)
      .then(client.put('npm/t').value('1'), client.put('npm/t').value('2')).commit()));
    await client.put('npm/n').value(0);
    await Promise.all(Array.from({ length: 4 }, () =>
      client.stm({ retries: 100 }).transact(async (tx) => {
        const n = Number(await tx.get('npm/n').string());
        await tx.put('npm/n').value(n + 1);
      })));
    say('counted', await client.get('npm/n').number());
    await client.delete().prefix('npm/');
  },

  async lease() {
    const lease = client.lease(60);
    const id = await lease.grant();
    await lease.put('npm/l').value('held');
    const kv = (await client.get('npm/l').exec()).kvs[0];
    say('held', kv.value.toString(), kv.lease === id);
    const seen = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
    say('granted', seen.grantedTTL, Number(seen.TTL) > 50, seen.keys.map(String));
    await lease.keepaliveOnce();
    say('leases', (await client.leaseClient.leaseLeases()).leases.map((l) => l.ID === id));
    await lease.revoke();
    say('after', await client.get('npm/l').string());
    const gone = await client.leaseClient.leaseTimeToLive({ ID: id });
    say('gone', gone.TTL);
    const lost = client.lease(60);
    await lost.grant();
    await client.leaseClient.leaseRevoke({ ID: await lost.grant() });
    say('lost', await refused(lost.keepaliveOnce()));
    say('lost', await refused(lost.put('npm/l').value('late').exec()));
    lost.release();
  },

  async lock() {
    const order = [];
    const mine = client.lock('npm/lock').ttl(60);
    await mine.acquire();
    order.push('mine');
    say('taken', await refused(client.lock('npm/lock').ttl(60).acquire()));
    await mine.release();
    await client.lock('npm/lock').ttl(60).do(async () => order.push('then'));
    say('order', order, await client.getAll().prefix('npm/lock').count());
  },

  async watch() {
    await client.put('npm/w/0').value('before');
    const start = Number((await client.get('npm/w/0').exec()).header.revision) + 1;
    const watcher = await client.watch().prefix('npm/w/').withPreviousKV().create();
    const seen = [];
    const done = new Promise((resolve) => {
      watcher.on('put', (kv, before) => seen.push(['put', String(kv.key), String(kv.value), before ? String(before.value) : null]));
      watcher.on('delete', (kv, before) => {
        seen.push(['delete', String(kv.key), before ? String(before.value) : null]);
        resolve();
      });
    });
    await client.put('npm/w/0').value('after');
    await client.put('npm/x').value('elsewhere');
    await client.put('npm/w/1').value('one');
    await client.delete().key('npm/w/0');
    await done;
    seen.forEach((s) => say(...s));
    await watcher.cancel();
    await client.put('npm/w/2').value('unseen');
    const past = await client.watch().prefix('npm/w/').startRevision(String(start)).only('put').create();
    const again = [];
    await new Promise((resolve) => past.on('put', (kv) => {
      again.push(String(kv.value));
      if (again.length === 3) resolve();
    }));
    say('again', again);
    await past.cancel();
    const revision = (await client.get('npm/x').exec()).header.revision;
    await client.kv.compact({ revision });
    const late = client.watch().key('npm/w/0').startRevision('1').watcher();
    say('compacted', (await event(late, 'error')).message.replace(/[0-9]+/g, 'N'));
    await client.delete().prefix('npm/');
  },

  async election() {
    const election = client.election('npm/office', 60);
    say('nobody', await election.leader());
    const campaign = election.campaign('one');
    await event(campaign, 'elected');
    say('leads', await election.leader());
    const observer = await election.observe();
    say('observed', observer.leader());
    const changed = event(observer, 'change');
    await campaign.proclaim('uno');
    say('proclaimed', await changed);
    const next = client.election('npm/office', 60).campaign('two');
    const elected = event(next, 'elected');
    const left = event(observer, 'change');
    await campaign.resign();
    await elected;
    say('next', await left);
    await observer.cancel();
    await next.resign();
  },

  async maintenance() {
    await client.put('npm/m').value('m'.repeat(4096));
    const status = await client.maintenance.status();
    say('status', Number(status.raftTerm) > 0, status.leader !== '0', status.version.split('.')[0]);
    const members = await client.cluster.memberList({});
    say('members', members.members.length > 0, members.members.every((m) => m.clientURLs.length > 0));
    say('alarms', (await client.maintenance.alarm({ action: 'Get', memberID: 0, alarm: 'NoSpace' })).alarms);
    let bytes = 0;
    const snapshot = await client.maintenance.snapshot();
    await new Promise((resolve, reject) => {
      snapshot.on('data', (piece) => { bytes += piece.blob.length; });
      snapshot.on('end', resolve);
      snapshot.on('error', reject);
    });
    say('snapshot', bytes > 1000);
    await client.maintenance.defragment({});
    say('hash', (await client.maintenance.hash({})).hash > 0);
    await client.delete().prefix('npm/');
  },

  async auth() {
    const root = client.user('root');
    await root.create('secret');
    await client.role('root').create().catch(() => undefined);
    await root.addRole('root');
    const role = await client.role('npm').create();
    await role.grant({ permission: 'Read', range: Range.prefix('npm/') });
    await role.grant({ permission: 'Write', key: 'npm/mine' });
    const user = await client.user('alice').create('pw');
    await user.addRole('npm');
    say('roles', (await client.getRoles()).map((r) => r.name).sort(), (await client.getUsers()).map((u) => u.name).sort());
    say('granted', (await role.permissions()).map((p) => [p.permission, String(p.range.start), String(p.range.end)]).sort());
    say('has', (await user.roles()).map((r) => r.name));
    await client.auth.authEnable();
    say('nobody', await refused(client.get('npm/a').string()));
    say('wrong', await refused(new Etcd3({ hosts, auth: { username: 'alice', password: 'no' } }).get('npm/a').string()));
    const alice = new Etcd3({ hosts, auth: { username: 'alice', password: 'pw' } });
    await alice.put('npm/mine').value('hers');
    say('alice', await alice.get('npm/mine').string());
    say('denied', await refused(alice.put('npm/other').value('x').exec()));
    say('denied', await refused(alice.get('else').string()));
    const admin = new Etcd3({ hosts, auth: { username: 'root', password: 'secret' } });
    await admin.role('npm').revoke({ permission: 'Write', key: 'npm/mine' });
    say('revoked', await refused(alice.put('npm/mine').value('x').exec()));
    await admin.auth.authDisable();
    await user.delete();
    await role.delete();
    await root.delete();
    await client.role('root').delete();
    await client.delete().prefix('npm/');
    say('open', await client.get('npm/mine').string());
    alice.close();
    admin.close();
  },
};

parts[part]().then(
  () => process.exit(0),
  (e) => {
    console.log(`failed: ${e.name}: ${e.message}`);
    process.exit(1);
  });
