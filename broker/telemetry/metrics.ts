import { open, rename } from 'node:fs/promises';
import type { Attributes } from '@opentelemetry/api';

/** One value of a metric and what tells it from others of its name. */
export interface Sample {
  readonly value: number;
  readonly attributes?: Attributes;
}

/** Where each metric is read from, when it is asked for. All counts are since the start of the broker. */
export interface MetricSources {
  readonly requests: () => Iterable<{
    readonly method: string;
    readonly outcome: string;
    readonly count: number;
  }>;
  readonly refusedHandshakes: () => Iterable<readonly [reason: string, count: number]>;
  readonly tokens: () => Iterable<TokenMetrics>;
  readonly log: () => { readonly entries: number; readonly signed: number; readonly isWritable: boolean };
  readonly isServing: () => boolean;
  /** Uses of emergency access since the start. */
  readonly emergencyUses: () => number;
}

export interface TokenMetrics {
  readonly name: string;
  readonly state: string;
  readonly inFlight: number;
  readonly sessions: number;
  /** Of its module, per operation. */
  readonly serviceSeconds: number;
  /** By CKR name, or by reason. */
  readonly errors: Iterable<readonly [error: string, count: number]>;
  readonly restarts: number;
}

export interface MetricsOptions {
  /** Where the text goes: for the textfile collector of a node exporter, `*.prom`. */
  readonly file: string;
  readonly intervalMs: number;
  readonly sources: MetricSources;
  readonly onFailure: (error: unknown) => void;
}

export interface Metrics {
  /** Milliseconds from a request's arrival in the broker to its answer. */
  took(method: string, milliseconds: number): void;
  /** Writes them now, and again at each interval. */
  write(): Promise<void>;
  /** Writes them a last time. */
  close(): Promise<void>;
}

const LATENCY_SECONDS = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/**
 * Every metric of the broker, in the text format of Prometheus, in a file that is replaced whole.
 *
 * A file, because the broker opens neither a listener nor an outbound connection: a node exporter reads it, and its failure is
 * nobody else's. No names of workloads or keys: who used what is the log's to tell, to auditors.
 *
 * OpenTelemetry's SDK, loaded when it is wanted. Every exporter is named here, so that none is taken from the
 * environment: those call out.
 */
export async function startMetrics({
  file,
  intervalMs,
  sources,
  onFailure,
}: MetricsOptions): Promise<Metrics> {
  const [
    { NodeSDK },
    { AggregationType },
    { PrometheusExporter, PrometheusSerializer },
    { metrics: globalMetrics },
  ] = await Promise.all([
    import('@opentelemetry/sdk-node'),
    import('@opentelemetry/sdk-metrics'),
    import('@opentelemetry/exporter-prometheus'),
    import('@opentelemetry/api'),
  ]);
  const reader = new PrometheusExporter({ preventServerStart: true });
  const sdk = new NodeSDK({
    metricReaders: [reader],
    spanProcessors: [],
    logRecordProcessors: [],
    instrumentations: [],
    resourceDetectors: [],
    autoDetectResources: false,
    textMapPropagator: null,
    views: [
      {
        instrumentName: 'lastmile.request.duration.seconds',
        aggregation: {
          type: AggregationType.EXPLICIT_BUCKET_HISTOGRAM,
          options: { boundaries: LATENCY_SECONDS },
        },
      },
    ],
  });
  sdk.start();
  const serializer = new PrometheusSerializer();
  const meter = globalMetrics.getMeter('lastmile');
  const counter = (name: string, description: string, read: () => Iterable<Sample>): void =>
    meter.createObservableCounter(name, { description }).addCallback((result) => {
      for (const { value, attributes } of read()) result.observe(value, attributes);
    });
  const gauge = (name: string, description: string, read: () => Iterable<Sample>): void =>
    meter.createObservableGauge(name, { description }).addCallback((result) => {
      for (const { value, attributes } of read()) result.observe(value, attributes);
    });
  const ofTokens = (value: (token: TokenMetrics) => number) => () =>
    [...sources.tokens()].map((token) => ({ value: value(token), attributes: { token: token.name } }));

  counter('lastmile.requests', 'Requests answered, by method and outcome', () =>
    [...sources.requests()].map(({ method, outcome, count }) => ({
      value: count,
      attributes: { method, outcome },
    })),
  );
  counter('lastmile.approvals.emergency.uses', 'Uses of emergency access', () => [
    { value: sources.emergencyUses() },
  ]);
  counter('lastmile.handshakes.refused', 'Connections refused before authentication, by reason', () =>
    [...sources.refusedHandshakes()].map(([reason, value]) => ({ value, attributes: { reason } })),
  );
  counter(
    'lastmile.token.restarts',
    'Times that a token worker was replaced',
    ofTokens((t) => t.restarts),
  );
  counter('lastmile.token.errors', 'Errors of a token, by CKR name or reason', () =>
    [...sources.tokens()].flatMap(({ name, errors }) =>
      [...errors].map(([error, value]) => ({ value, attributes: { token: name, error } })),
    ),
  );
  gauge('lastmile.token.state', 'Always 1; the state is an attribute', () =>
    [...sources.tokens()].map(({ name, state }) => ({ value: 1, attributes: { token: name, state } })),
  );
  gauge(
    'lastmile.token.operations',
    'Operations that a token has now',
    ofTokens((t) => t.inFlight),
  );
  gauge(
    'lastmile.token.sessions',
    'Sessions that a token has open for operations',
    ofTokens((t) => t.sessions),
  );
  gauge(
    'lastmile.token.service.seconds',
    'What an operation takes one session, lately',
    ofTokens((t) => t.serviceSeconds),
  );
  gauge('lastmile.log.entries', 'Durable entries of the log', () => [{ value: sources.log().entries }]);
  gauge('lastmile.log.signed', 'Entries under the newest signed checkpoint', () => [
    { value: sources.log().signed },
  ]);
  gauge('lastmile.log.writable', '1 while entries can be written', () => [
    { value: Number(sources.log().isWritable) },
  ]);
  gauge('lastmile.serving', '1 while keys are used, as grpc.health.v1 says', () => [
    { value: Number(sources.isServing()) },
  ]);
  const duration = meter.createHistogram('lastmile.request.duration.seconds', {
    description: 'From arrival in the broker to the answer',
  });

  async function write(): Promise<void> {
    const { resourceMetrics, errors } = await reader.collect();
    if (errors.length > 0) throw errors[0];
    await replace(file, serializer.serialize(resourceMetrics));
  }
  let writing = Promise.resolve();
  const next = (): Promise<void> => {
    writing = writing.then(write).catch(onFailure);
    return writing;
  };
  const timer = setInterval(next, intervalMs);
  timer.unref();
  await next();
  return {
    took: (method, milliseconds) => duration.record(milliseconds / 1000, { method }),
    write: next,
    close: async () => {
      clearInterval(timer);
      await next();
      await sdk.shutdown();
      globalMetrics.disable();
    },
  };
}

/** Readers see the old text or the new one. Readable for others: nothing in it is secret, and collectors are not root. */
async function replace(file: string, text: string): Promise<void> {
  const incoming = `${file}.new`;
  const handle = await open(incoming, 'w', 0o644);
  try {
    await handle.writeFile(text);
  } finally {
    await handle.close();
  }
  await rename(incoming, file);
}
