// Makes cron_vectors.txt with the npm package cron-parser, which is what BullMQ schedules by:
//     npm install cron-parser@5.10.3 && node make_cron_vectors.mjs > cron_vectors.txt
// One line a case: zone|pattern|from_ms|next_ms next_ms next_ms. "!" instead of times: refused.
//
// Left out, because the parser errs there ("loop limit exceeded", or a day without its run) and
// the unit test states the rule by hand: changes of half an hour (Lord Howe) and changes at
// midnight (Havana).
import {createRequire} from 'node:module';
const require = createRequire(process.env.CRON_FROM ?? import.meta.url);
const {CronExpressionParser} = require('cron-parser');

const zones = ['UTC', 'America/New_York', 'Europe/Berlin', 'Australia/Lord_Howe', 'Asia/Kolkata',
    'Australia/Sydney', 'Europe/London', 'America/St_Johns', 'America/Sao_Paulo', 'Asia/Kathmandu'];
const patterns = ['0 2 * * *', '0 0 * * *', '30 2 * * *', '*/30 * * * *', '15 1 * * *', '15 2 * * *', '45 1 * * *',
    '0 */2 * * *', '*/7 1-3 * * *', '0 0 1 * *', '0 12 31 * *', '0 0 29 2 *', '0 9 * * mon-fri',
    '0 9 * * 1,3,5', '0 0 13 * 5', '0 0 L * *', '30 6 L 2,4 *', '0 7 * * 5L', '0 8 * * 1#2',
    '0 8 * * SUN#5', '*/15 * * * * *', '5 4 3 2 1 *', '10 0 0 * * 0', '0 30 2 * * *', '0 0 1-7 * 1',
    '0 22 * 1-3,11 7', '59 59 23 31 12 *', '1-59/13 3 * jan,jul *', '0 5 ? * *', '@daily', '@hourly',
    '@weekly', '@monthly', '@yearly', '20 */5 10-20/3 * *', '0,30 1,2,3 * * *', '0 3 * mar sun',
    '15 * * * *', '*/10 0-4 * * *', '30 0 * * *', '0 1-3 * * *'];
const refused = ['60 * * * *', '0 24 * * *', '0 0 32 * *', '0 0 * 13 *', '0 0 * * 8', '*/0 * * * *',
    '0 0 31 2 *', '0 0 0 * * * *', 'a b c d e', '0 0 * * mon-xyz', '5-1 * * * *', '-1 * * * *',
    '0 0 * * 1#6', '1,,2 * * * *', '0 0 30 2 *', '0 0 0 * *', '1/ * * * *', '* * * * * * *'];
// Around the changes of 2024-2027 in all of the zones, and on quiet days.
const near = ['2024-03-10T05:10:00Z', '2025-03-09T04:00:00Z', '2025-11-02T03:00:00Z', '2025-03-30T00:10:00Z', '2025-10-26T00:00:00Z',
    '2025-10-04T14:00:00Z', '2025-04-05T13:00:00Z', '2026-04-04T12:31:07Z', '2025-03-09T02:00:00Z', '2026-11-01T02:59:59Z',
    '2024-02-28T23:59:59.999Z', '2026-01-01T00:00:00Z', '2027-06-15T12:34:56.789Z', '2025-12-31T23:59:59Z', '2038-01-19T03:14:07Z',
    '2025-10-05T00:00:00Z', '2045-03-12T03:00:00Z', '2045-11-04T22:00:00Z'];

const changing = ['2025-10-04T14:00:00Z', '2025-04-05T13:00:00Z', '2026-04-04T12:31:07Z'];

function next3(pattern, tz, from) {
    const it = CronExpressionParser.parse(pattern, {currentDate: new Date(from), tz});
    return [0, 1, 2].map(() => it.next().getTime()).join(' ');
}
for (const tz of zones)
    for (const pattern of patterns)
        for (const at of near) {
            const from = Date.parse(at);
            if (tz === 'Australia/Lord_Howe' && changing.includes(at)) continue;
            let result;
            try { result = next3(pattern, tz, from); } catch (e) { result = '!' + e.message; }
            console.log(`${tz}|${pattern}|${from}|${result}`);
        }
for (const pattern of refused) {
    let result;
    try { result = next3(pattern, 'UTC', 0); } catch { result = '!'; }
    console.log(`UTC|${pattern}|0|${result}`);
}
