// BullMQ on Node, as bench_queue's peer. Each line on stdin is a task, "add N", "bulk N" or
// "work N CONCURRENCY"; the answer is how many ns it took. argv: port of Redis. NODE_PATH must lead
// to bullmq.
const { Queue, Worker } = require('bullmq');
const lines = require('readline').createInterface({ input: process.stdin });

const connection = { port: Number(process.argv[2]), host: '127.0.0.1', maxRetriesPerRequest: null };
const queue = new Queue('bench', { connection });
const data = { productId: 'B09XYZ1234', imageUrl: 'https://images.example.com/p/B09XYZ1234.jpg',
  title: 'Cotton shirt with long sleeves', category: 'top' };
const BULK = 1000;

async function timed(task) {
  const begin = process.hrtime.bigint();
  await task();
  return Number(process.hrtime.bigint() - begin);
}

async function add(jobs) {
  for (let i = 0; i < jobs; i++) await queue.add('compute-embedding', data);
}

async function bulk(jobs) {
  const all = Array.from({ length: BULK }, () => ({ name: 'compute-embedding', data }));
  for (let i = 0; i < jobs; i += BULK) await queue.addBulk(all);
}

// From the begin of the first job to the end of the last one.
async function work(jobs, concurrency) {
  let begin, end, done = 0;
  await new Promise(resolve => {
    const worker = new Worker('bench', async () => { begin ??= process.hrtime.bigint(); return null; },
      { connection, concurrency });
    worker.on('completed', async () => {
      if (++done !== jobs) return;
      end = process.hrtime.bigint();
      await worker.close();
      resolve();
    });
  });
  return Number(end - begin);
}

queue.waitUntilReady().then(async () => {
  console.log('ready ' + require('bullmq/package.json').version);
  for await (const line of lines) {
    const [what, jobs, concurrency] = line.split(' ');
    if (what === 'add') console.log(await timed(() => add(Number(jobs))));
    else if (what === 'bulk') console.log(await timed(() => bulk(Number(jobs))));
    else console.log(await work(Number(jobs), Number(concurrency)));
  }
  await queue.close();
}, () => process.exit(1));
