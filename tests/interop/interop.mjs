// Plays C (queue_peer) and BullMQ against each other on one Redis.
//     node interop.mjs FOLDER_WITH_NODE_MODULES PATH_OF_QUEUE_PEER REDIS_SOCKET [JOBS_OF_A_KIND]
import {createRequire} from 'node:module';
import {spawn} from 'node:child_process';
import {createInterface} from 'node:readline';
import assert from 'node:assert/strict';

const [folder, program, socket, jobsText = '1000'] = process.argv.slice(2);
const require = createRequire(folder + '/package.json');
const {Queue, Worker, QueueEvents, FlowProducer, UnrecoverableError} = require('bullmq');
const Redis = require('ioredis');
const version = require('bullmq/package.json').version;
const jobs = Number(jobsText);
const connection = {path: socket, maxRetriesPerRequest: null};
const redis = new Redis(connection);

class Peer {
    constructor() {
        this.process = spawn(program, [socket], {stdio: ['pipe', 'pipe', 'inherit']});
        this.waiting = [];
        createInterface({input: this.process.stdout}).on('line', line => this.waiting.shift()?.(line));
    }
    ask(...fields) {
        return new Promise(resolve => {
            this.waiting.push(resolve);
            this.process.stdin.write(fields.join('\t') + '\n');
        });
    }
    async must(...fields) { assert.equal(await this.ask(...fields), '0', fields.join(' ')); }
    work(queue, concurrency, lock = 30000, stalled = 30000) {
        return this.must('work', queue, concurrency, 'c', lock, stalled);
    }
    async json(...fields) { return JSON.parse(await this.ask(...fields)); }
    end() {
        return new Promise(resolve => { this.process.on('exit', resolve); this.process.stdin.end(); });
    }
    kill() {
        return new Promise(resolve => { this.process.on('exit', resolve); this.process.kill('SIGKILL'); });
    }
}

async function until(what, condition, ms = 60000) {
    const end = Date.now() + ms;
    while (!(await condition())) {
        if (Date.now() > end) throw new Error('never: ' + what);
        await new Promise(resolve => setTimeout(resolve, 10));
    }
}

// The same as queue_peer's.
async function run(job) {
    const how = job.data.do;
    if (how === 'hang') await new Promise(resolve => setTimeout(resolve, 1e9));
    if (how === 'nap') await new Promise(resolve => setTimeout(resolve, 20));
    if (how === 'final') throw new UnrecoverableError('told to fail');
    if (how === 'fail' || (how === 'failonce' && job.attemptsMade === 0))
        throw new Error('told to fail');
    return job.data;
}

// Every kind of job, as name, data, options.
const kinds = {
    plain: [{do: 'ok'}, {}],
    priority: [{do: 'ok'}, {priority: 5}],
    delayed: [{do: 'ok'}, {delay: 300}],
    lifo: [{do: 'ok'}, {lifo: true}],
    again: [{do: 'failonce'}, {attempts: 3}],
    later: [{do: 'failonce'}, {attempts: 2, backoff: {type: 'exponential', delay: 20}}],
    failing: [{do: 'fail'}, {attempts: 2, backoff: {type: 'fixed', delay: 10}}],
    final: [{do: 'final'}, {attempts: 3}],
    custom: [{do: 'ok'}, {}], // each with an id of its own, and added twice
};
const failing = 2, total = Object.keys(kinds).length;
// How often one job of each kind starts and makes another try.
const retried = ['again', 'later', 'failing'].length;

async function addAll(queue, peer) {
    for (const [name, [data, options]] of Object.entries(kinds)) {
        const ids = name === 'custom';
        if (peer && ids) {
            for (let turn = 0; turn < 2; turn++) await peer.must('custom', queue.name, name, JSON.stringify(data), jobs);
        } else if (peer) {
            const format = JSON.stringify({...data, n: 0}).replace('"n":0', '"n":%zu');
            await peer.must('many', queue.name, name, format, JSON.stringify(options), jobs);
        } else {
            const all = Array.from({length: jobs}, (_, n) =>
                ({name, data: {...data, n}, opts: ids ? {...options, jobId: `own-${n}`} : options}));
            await queue.addBulk(all);
            if (ids) await queue.addBulk(all);
        }
    }
}

async function sameCounts(queue, peer) {
    const ours = await peer.json('stats', queue.name);
    const theirs = await queue.getJobCounts('wait', 'active', 'completed', 'failed', 'delayed', 'prioritized');
    const mine = {wait: ours.waiting, active: ours.active, completed: ours.completed, failed: ours.failed,
        delayed: ours.delayed, prioritized: ours.prioritized};
    assert.deepEqual(mine, {...theirs}, 'counts');
    return mine;
}

async function sameJob(queue, peer, id) {
    const ours = await peer.json('job', queue.name, id);
    const theirs = await queue.getJob(id);
    for (const field of ['id', 'name', 'data', 'attemptsMade', 'attemptsStarted', 'priority', 'delay',
        'timestamp', 'stacktrace', 'progress'])
        assert.deepEqual(ours[field], theirs[field], `${field} of job ${id}`);
    for (const field of ['processedOn', 'finishedOn', 'returnvalue'])
        assert.deepEqual(ours[field] || null, theirs[field] || null, `${field} of job ${id}`);
    const state = await theirs.getState();
    assert.equal(ours.state, state);
}

async function drained(queue) {
    const c = await queue.getJobCounts('wait', 'active', 'delayed', 'prioritized');
    return c.wait + c.active + c.delayed + c.prioritized === 0;
}

// Nothing but what a queue is made of, and nothing at all once it is obliterated.
async function noOrphans(queue) {
    const prefix = `bull:${queue.name}:`, known = new Set(['id', 'wait', 'active', 'prioritized', 'pc',
        'delayed', 'completed', 'failed', 'marker', 'meta', 'events', 'stalled', 'stalled-check', 'repeat',
        'limiter', 'waiting-children', 'paused']);
    const ids = new Set((await queue.getJobs()).map(job => job.id));
    for (const key of await redis.keys(prefix + '*')) {
        const rest = key.slice(prefix.length);
        if (known.has(rest) || rest.startsWith('repeat:')) continue;
        assert(ids.has(rest.replace(/:logs$/, '')), 'an orphan: ' + key);
    }
}

async function watch(name) {
    const events = new QueueEvents(name, {connection, lastEventId: '0-0'});
    await events.waitUntilReady();
    const seen = {added: 0, duplicated: 0, completed: 0, failed: 0, 'retries-exhausted': 0, stalled: 0, active: 0};
    for (const event of Object.keys(seen)) events.on(event, () => seen[event]++);
    return {events, seen};
}

// Jobs from both ends of some states.
async function sameSome(queue, peer, states) {
    for (const state of states)
        for (const job of [...await queue.getJobs([state], 0, 10, true), ...await queue.getJobs([state], 0, 10, false)])
            await sameJob(queue, peer, job.id);
}

async function everyKind(name, {producer, workers}) {
    // The stream has room for all: a reader that falls behind on a busy machine must not miss any.
    const queue = new Queue(name, {connection, streams: {events: {maxLen: total * jobs * 12}}}), peer = new Peer();
    await queue.waitUntilReady();
    const {events, seen} = await watch(name);
    await addAll(queue, producer === 'c' ? peer : null);
    const before = await sameCounts(queue, peer);
    assert.equal(before.wait + before.delayed + before.prioritized, total * jobs);
    await sameSome(queue, peer, ['wait', 'prioritized', 'delayed']);
    const nodes = [];
    for (const [kind, concurrency] of workers)
        if (kind === 'c') await peer.work(name, concurrency);
        else nodes.push(new Worker(name, run, {connection, concurrency}));
    await until('all jobs done', () => drained(queue));
    const after = await sameCounts(queue, peer);
    assert.deepEqual([after.completed, after.failed], [(total - failing) * jobs, failing * jobs]);
    await until('all events seen', () => seen.completed === (total - failing) * jobs && seen.failed === failing * jobs);
    assert.deepEqual(seen, {added: total * jobs, duplicated: jobs, completed: (total - failing) * jobs,
        failed: failing * jobs, 'retries-exhausted': jobs, stalled: 0, active: (total + retried) * jobs}, 'events');
    await sameSome(queue, peer, ['completed', 'failed']);
    for (const node of nodes) await node.close();
    if (workers.some(([kind]) => kind === 'c')) await peer.must('stop');
    assert.equal(await redis.llen(`bull:${name}:active`), 0);
    assert.deepEqual(await redis.keys(`bull:${name}:*:lock`), []);
    await noOrphans(queue);
    await events.close();
    if (producer === 'c') {
        await queue.pause();
        await queue.obliterate({force: true});
    } else {
        await peer.must('pause', name);
        await peer.must('obliterate', name);
    }
    await peer.end();
    await queue.close();
    assert.deepEqual(await redis.keys(`bull:${name}:*`), [], 'nothing is left');
}

// One plan, one worker of each side: the event streams must tell the same story.
async function sameStory(name) {
    const stories = [];
    for (const side of ['node', 'c']) {
        const queue = new Queue(`${name}-${side}`, {connection}), peer = new Peer();
        await queue.waitUntilReady();
        const ids = [];
        const add = async (...args) => ids.push((await queue.add(...args)).id);
        await add('a', {do: 'ok'});
        await add('b', {do: 'failonce'}, {attempts: 2});
        await add('c', {do: 'failonce'}, {attempts: 2, backoff: 100});
        await add('d', {do: 'fail'});
        await add('e', {do: 'fail'}, {attempts: 2});
        await add('f', {do: 'ok'}, {removeOnComplete: true});
        await add('g', {do: 'ok'}, {priority: 3});
        await add('h', {do: 'ok'}, {delay: 200});
        await add('i', {do: 'ok'}, {jobId: 'mine'});
        await add('i', {do: 'ok'}, {jobId: 'mine'});
        let node;
        if (side === 'c') await peer.work(queue.name, 1);
        else node = new Worker(queue.name, run, {connection});
        await until('the plan is done', () => drained(queue));
        if (node) await node.close(); else await peer.must('stop');
        const rows = await redis.xrange(`bull:${queue.name}:events`, '-', '+');
        const story = {};
        for (const [, [, event, ...pairs]] of rows) {
            const at = pairs.indexOf('jobId');
            const id = at < 0 ? '' : pairs[at + 1];
            const rest = pairs.filter((_, i) => i !== at && i !== at + 1 && at >= 0).map(x => /^\d{13}$/.test(x) ? 'ms' : x);
            (story[id] ??= []).push([event, ...rest].join(' '));
        }
        delete story[''];
        const hashes = {};
        for (const id of ids) hashes[id] = (await redis.hkeys(`bull:${queue.name}:${id}`)).filter(k => k !== 'pb').sort();
        stories.push({story, hashes});
        await queue.obliterate({force: true});
        await queue.close();
        await peer.end();
    }
    assert.deepEqual(stories[1], stories[0]);
}

async function pausing(name) {
    const queue = new Queue(name, {connection}), peer = new Peer();
    await queue.waitUntilReady();
    for (const [pauser, resumer] of [['c', 'node'], ['node', 'c'], ['c', 'c'], ['node', 'node']]) {
        await queue.add('x', {do: 'ok'});
        if (pauser === 'c') await peer.must('pause', name); else await queue.pause();
        assert.equal(await queue.isPaused(), true);
        assert.equal((await peer.json('stats', name)).isPaused, 1);
        await queue.add('x', {do: 'ok'});
        assert.match(await peer.ask('add', name, 'x', '{"do":"ok"}', '{}'), /^0 /);
        await peer.work(name, 2);
        await new Promise(resolve => setTimeout(resolve, 100));
        assert.equal((await queue.getJobCounts('completed')).completed, 0, 'a paused queue rests');
        if (resumer === 'c') await peer.must('resume', name); else await queue.resume();
        await until(`${pauser} paused, ${resumer} resumed: three jobs done`, async () =>
            (await queue.getJobCounts('completed')).completed === 3);
        await peer.must('stop');
        await queue.clean(0, 100, 'completed');
    }
    await queue.obliterate({force: true});
    await queue.close();
    await peer.end();
}

async function scheduling(name) {
    for (const [maker, worker] of [['c', 'node'], ['node', 'c'], ['c', 'c'], ['c', 'both'], ['node', 'both']]) {
        const queue = new Queue(`${name}-${maker}-${worker}`, {connection}), peer = new Peer();
        await queue.waitUntilReady();
        const options = [['e', 'every', 200], ['p', 'cron', '* * * * * *']];
        for (const [id, kind, value] of options)
            if (maker === 'c') await peer.must('schedule', queue.name, id, kind, value, id, '{"do":"ok"}', 3);
            else await queue.upsertJobScheduler(id, {[kind === 'every' ? 'every' : 'pattern']: value, limit: 3},
                {name: id, data: {do: 'ok'}});
        assert.equal((await queue.getJobSchedulers()).length, 2);
        let node;
        if (worker !== 'node') await peer.work(queue.name, 2);
        if (worker !== 'c') node = new Worker(queue.name, run, {connection, concurrency: 2});
        await until(`${maker} schedules, ${worker} runs`, async () => (await queue.getJobCounts('completed')).completed >= 6, 15000);
        if (node) await node.close();
        if (worker !== 'node') await peer.must('stop');
        assert.equal((await queue.getJobCounts('completed')).completed, 6, 'limits of three');
        for (const [id, kind, value] of options) {
            const scheduler = await queue.getJobScheduler(id);
            assert.equal(scheduler.iterationCount, 3);
            assert.equal(String(kind === 'every' ? scheduler.every : scheduler.pattern), String(value));
            if (maker === 'c') assert.equal(await queue.removeJobScheduler(id), true);
            else await peer.must('unschedule', queue.name, id);
        }
        assert.equal((await queue.getJobSchedulers()).length, 0);
        await queue.obliterate({force: true});
        assert.deepEqual(await redis.keys(`bull:${queue.name}:*`), []);
        await queue.close();
        await peer.end();
    }
}

async function stalling(name) {
    // A killed C worker's job is taken by Node.
    const queue = new Queue(name, {connection});
    let peer = new Peer();
    await peer.work(name, 1, 400, 200);
    const hung = await queue.add('x', {do: 'hang'});
    await until('C has it', async () => (await queue.getJobCounts('active')).active === 1);
    await peer.kill();
    const worker = new Worker(name, async () => 'rescued', {connection, lockDuration: 400, stalledInterval: 200});
    await until('Node finishes it', async () => await hung.getState() === 'completed', 15000);
    const job = await queue.getJob(hung.id);
    assert.equal(job.returnvalue, 'rescued');
    assert.equal(job.stalledCounter, 1);
    await worker.close();
    // The reverse: a Node process that is killed.
    const script = `const {Worker} = require(${JSON.stringify(require.resolve('bullmq'))});
        new Worker(${JSON.stringify(name)}, () => new Promise(() => {}), {connection: ${JSON.stringify(connection)},
        lockDuration: 400, stalledInterval: 200}); setInterval(() => {}, 1000);`;
    const node = spawn(process.execPath, ['-e', script], {stdio: 'inherit'});
    const other = await queue.add('x', {do: 'ok'});
    await until('Node has it', async () => (await queue.getJobCounts('active')).active === 1);
    await new Promise(resolve => { node.on('exit', resolve); node.kill('SIGKILL'); });
    peer = new Peer();
    await peer.work(name, 1, 400, 200);
    await until('C finishes it', async () => await other.getState() === 'completed', 15000);
    await peer.must('stop');
    await queue.obliterate({force: true});
    await queue.close();
    await peer.end();
}

// Small things that either side must see as the other left them.
async function details(name) {
    const queue = new Queue(name, {connection}), peer = new Peer();
    const {events, seen} = await watch(name);
    await peer.work(name, 1);
    await until('getWorkers names the C worker', async () =>
        (await queue.getWorkers()).some(w => w.rawname?.endsWith(':w:c')));
    const node = new Worker(name, null, {connection, autorun: false, name: 'n'});
    await node.waitUntilReady();
    assert.match(await peer.ask('workers', name), /c/);
    await node.close();
    const job = await queue.add('x', {do: 'report'});
    await until('done', async () => await job.getState() === 'completed');
    await sameJob(queue, peer, job.id);
    assert.deepEqual((await queue.getJob(job.id)).progress, {done: 50});
    assert.deepEqual((await queue.getJobLogs(job.id)).logs, ['half way']);
    assert.equal((await queue.getJob(job.id)).processedBy, 'c');
    const bad = await queue.add('x', {do: 'notjson'});
    await until('a result that is not JSON fails the job', async () => await bad.getState() === 'failed');
    const final = await queue.add('x', {do: 'final'}, {attempts: 5});
    await until('unrecoverable', async () => await final.getState() === 'failed');
    assert.equal((await queue.getJob(final.id)).attemptsMade, 1);
    await peer.must('retry', name, final.id);
    await until('retried', async () => (await queue.getJob(final.id)).attemptsMade === 2 && await final.getState() === 'failed');
    const delayed = await queue.add('x', {do: 'ok'}, {delay: 1e6});
    await peer.must('promote', name, delayed.id);
    assert.equal(JSON.stringify(await delayed.waitUntilFinished(events, 5000)), '{"do":"ok"}');
    await peer.must('remove', name, delayed.id);
    assert.equal(await queue.getJob(delayed.id), undefined);
    await until('QueueEvents is alive', async () => seen.completed >= 2);
    await peer.must('stop');
    await events.close();
    await queue.obliterate({force: true});
    await queue.close();
    await peer.end();
}

// Limits that Node sets for the whole queue hold for C workers, and the reverse.
async function limits(name) {
    for (const worker of ['c', 'node']) {
        const queue = new Queue(`${name}-${worker}`, {connection}), peer = new Peer();
        await queue.waitUntilReady();
        if (worker === 'c') await queue.setGlobalConcurrency(2); else await peer.must('concurrency', queue.name, 2);
        await queue.addBulk(Array.from({length: 40}, (_, n) => ({name: 'x', data: {do: 'nap', n}})));
        let most = 0, node;
        if (worker === 'c') await peer.work(queue.name, 8);
        else node = new Worker(queue.name, run, {connection, concurrency: 8});
        await until('all jobs done', async () => {
            most = Math.max(most, (await queue.getJobCounts('active')).active);
            return drained(queue);
        });
        assert(most <= 2, `${most} active at a time`);
        // 5 starts in 200 ms: 20 jobs take at least 3 more windows.
        if (worker === 'c') await redis.hset(`bull:${queue.name}:meta`, {max: 5, duration: 200});
        else await peer.must('rate', queue.name, 5, 200);
        await queue.removeGlobalConcurrency?.();
        const begin = Date.now();
        await queue.addBulk(Array.from({length: 20}, (_, n) => ({name: 'x', data: {do: 'ok', n}})));
        await until('all jobs done', () => drained(queue));
        assert(Date.now() - begin >= 400, `20 jobs at 5 per 200 ms took ${Date.now() - begin} ms`);
        if (node) await node.close(); else await peer.must('stop');
        await queue.obliterate({force: true});
        await until('only what expires was left', async () => (await redis.keys(`bull:${queue.name}:*`)).length === 0);
        await queue.close();
        await peer.end();
    }
}

// A child of a flow that a C worker takes fails with a reason, and its parent is not lost.
async function flows(name) {
    const queue = new Queue(name, {connection}), peer = new Peer(), flow = new FlowProducer({connection});
    const tree = await flow.add({name: 'parent', queueName: name, data: {do: 'ok'},
        children: [{name: 'child', queueName: name, data: {do: 'ok'}, opts: {attempts: 3}}]});
    const child = tree.children[0].job;
    await peer.work(name, 1);
    await until('the child has failed', async () => await child.getState() === 'failed');
    assert.match((await queue.getJob(child.id)).failedReason, /does not run children of a flow/);
    assert.equal(await tree.job.getState(), 'waiting-children');
    await peer.must('stop');
    await child.retry();
    const node = new Worker(name, run, {connection});
    await until('Node ends both', async () => await tree.job.getState() === 'completed');
    await node.close();
    await flow.close();
    await queue.obliterate({force: true});
    await queue.close();
    await peer.end();
}

const plan = [
    ['Node produces, C works, concurrency 1', () => everyKind('i1', {producer: 'node', workers: [['c', 1]]})],
    ['Node produces, C works, concurrency 8', () => everyKind('i2', {producer: 'node', workers: [['c', 8]]})],
    ['C produces, Node works, concurrency 1', () => everyKind('i3', {producer: 'c', workers: [['node', 1]]})],
    ['C produces, Node works, concurrency 8', () => everyKind('i4', {producer: 'c', workers: [['node', 8]]})],
    ['C produces, both work', () => everyKind('i5', {producer: 'c', workers: [['c', 4], ['node', 4]]})],
    ['Node produces, both work', () => everyKind('i6', {producer: 'node', workers: [['node', 4], ['c', 4]]})],
    ['both tell the same story', () => sameStory('i7')],
    ['pause and resume across both', () => pausing('i8')],
    ['schedules of either run by the other', () => scheduling('i9')],
    ['stalled jobs change sides', () => stalling('i10')],
    ['details', () => details('i11')],
    ['limits of the whole queue', () => limits('i12')],
    ['children of flows', () => flows('i13')],
];
let failed = 0;
for (const [what, test] of plan) {
    const start = Date.now();
    try {
        await test();
        console.log(`ok - bullmq ${version}: ${what} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    } catch (error) {
        failed++;
        console.log(`not ok - bullmq ${version}: ${what}: ${error.stack}`);
    }
}
redis.disconnect();
process.exit(failed ? 1 : 0);
