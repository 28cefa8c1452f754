import { appendFile, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import { refusal, workload } from '../../fakes/instance-clients.ts';

let instance: RunningInstance;
let file: string;

beforeAll(async () => {
  instance = await startInstance({
    prepare: (directory) =>
      appendFile(
        join(directory, 'lastmile.yaml'),
        '\ntelemetry: { metrics_file: lastmile.prom, interval: 1h }\n',
      ),
  });
  file = join(instance.directory, 'lastmile.prom');
});

afterAll(() => instance?.stop());

it('the metrics tell what was asked for, and name no workload and no key', async () => {
  expect((await stat(file)).isFile(), 'before the first request').toBe(true);
  const client = await workload(instance, 'payments');
  try {
    const message = Buffer.from('a message');
    await client.sign({ key: 'payments/jwt', algorithm: 'ES256', message });
    await client.signStream().sign({ key: 'payments/jwt', algorithm: 'ES256', message });
    await refusal(client.sign({ key: 'billing/invoices', algorithm: 'ES256', message }));
    await refusal(client.signStream().sign({ key: 'billing/invoices', algorithm: 'ES256', message }));
  } finally {
    client.close();
  }
  // The last ones are written at an orderly end.
  expect(await instance.end()).toBe(0);
  const text = await readFile(file, 'utf8');
  const value = (name: string, ...labels: string[]): number | undefined => {
    const line = text
      .split('\n')
      .find((each) => each.startsWith(name) && labels.every((label) => each.includes(label)));
    return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(' ') + 1));
  };
  for (const method of ['method="KeyUse.Sign"', 'method="KeyUse.SignStream"']) {
    expect(value('lastmile_requests_total', method, 'outcome="OK"')).toBe(1);
    expect(value('lastmile_requests_total', method, 'outcome="POLICY_DENIED"')).toBe(1);
    expect(value('lastmile_request_duration_seconds_count', method)).toBe(2);
  }
  expect(value('lastmile_log_entries')).toBeGreaterThan(4);
  expect(value('lastmile_serving'), 'after its end').toBe(0);
  expect(value('lastmile_token_sessions', 'token="a"')).toBeGreaterThan(0);
  expect(text).not.toMatch(/spiffe:|payments|billing/);
});
