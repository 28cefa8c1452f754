import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MetricSources, startMetrics } from './metrics.ts';
import { RequestCounter } from './request-counter.ts';

const HOUR_MS = 3_600_000;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'lastmile-metrics-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const requests = new RequestCounter();
requests.count('KeyUse.Sign', 'OK');
requests.count('KeyUse.Sign', 'OK');
requests.count('KeyUse.Sign', 'POLICY_DENIED');
const sources: MetricSources = {
  requests: () => requests.all(),
  refusedHandshakes: () => new Map([['no-certificate', 3]]),
  tokens: () => [
    {
      name: 'a',
      state: 'ready',
      inFlight: 2,
      sessions: 8,
      serviceSeconds: 0.0005,
      errors: new Map([['CKR_DEVICE_ERROR', 4]]),
      restarts: 1,
    },
  ],
  log: () => ({ entries: 40, signed: 38, isWritable: true }),
  isServing: () => true,
  emergencyUses: () => 2,
};

describe('the metrics', () => {
  it('are each in the file, as Prometheus reads them', async () => {
    const file = join(directory, 'lastmile.prom');
    const failures: unknown[] = [];
    const metrics = await startMetrics({
      file,
      intervalMs: HOUR_MS,
      sources,
      onFailure: (error) => failures.push(error),
    });
    metrics.took('KeyUse.Sign', 3);
    await metrics.write();
    const values = new Map(
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line): [string, number] => [
          line
            .slice(0, line.lastIndexOf(' '))
            .replace(/,?otel_scope_name="lastmile"/, '')
            .replace('{}', ''),
          Number(line.slice(line.lastIndexOf(' ') + 1)),
        ]),
    );
    expect(Object.fromEntries(values)).toMatchObject({
      'lastmile_requests_total{method="KeyUse.Sign",outcome="OK"}': 2,
      'lastmile_requests_total{method="KeyUse.Sign",outcome="POLICY_DENIED"}': 1,
      'lastmile_handshakes_refused_total{reason="no-certificate"}': 3,
      'lastmile_token_restarts_total{token="a"}': 1,
      'lastmile_token_errors_total{token="a",error="CKR_DEVICE_ERROR"}': 4,
      'lastmile_token_state{token="a",state="ready"}': 1,
      'lastmile_token_operations{token="a"}': 2,
      'lastmile_token_sessions{token="a"}': 8,
      'lastmile_token_service_seconds{token="a"}': 0.0005,
      lastmile_log_entries: 40,
      lastmile_log_signed: 38,
      lastmile_log_writable: 1,
      lastmile_serving: 1,
      'lastmile_request_duration_seconds_count{method="KeyUse.Sign"}': 1,
    });
    await metrics.close();
    expect(failures).toEqual([]);
    expect(readdirSync(directory)).toEqual(['lastmile.prom']);
  });

  it('that cannot be written are told of, and nothing else happens', async () => {
    const failures: unknown[] = [];
    const metrics = await startMetrics({
      file: join(directory, 'missing', 'lastmile.prom'),
      intervalMs: HOUR_MS,
      sources,
      onFailure: (error) => failures.push(error),
    });
    await metrics.close();
    expect(failures).toMatchObject([{ code: 'ENOENT' }, { code: 'ENOENT' }]);
  });
});
