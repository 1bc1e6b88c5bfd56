// The cache hit of a Node service: ioredis GET, then JSON.parse. Measures one stretch (ms) for
// each line on stdin and prints ns per operation. NODE_PATH must lead to ioredis.
const Redis = require('ioredis');
const lines = require('readline').createInterface({ input: process.stdin });

const redis = new Redis(Number(process.argv[2]), '127.0.0.1');
const KEYS = 1000;

async function stretch(ms) {
  const begin = process.hrtime.bigint(), end = begin + BigInt(ms) * 1000000n;
  let gets = 0, now;
  do {
    const object = JSON.parse(await redis.get('bench:' + ((gets * 37) % KEYS)));
    if (object.id !== (gets * 37) % KEYS) process.exit(1);
    gets++;
    now = process.hrtime.bigint();
  } while (now < end);
  return Number(now - begin) / gets;
}

redis.on('ready', async () => {
  await stretch(300);
  console.log('ready');
  for await (const line of lines) console.log(await stretch(Number(line)));
  redis.disconnect();
});
redis.on('error', () => process.exit(1));
