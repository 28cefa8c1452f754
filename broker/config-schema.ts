import { z } from 'zod';
import { PROFILE_NAMES } from '../hsm-adapters/profiles/profiles.ts';
import { duration, listenAddress, size } from './config-values.ts';
import { NOTICE_TYPES } from './courier/notice.ts';

/**
 * lastmile.yaml. The descriptions are the reference: `deploy/configuration.md` and the JSON Schema for editors are
 * generated from them (`node broker/config-reference.ts`).
 *
 * Secrets are never values here, only references to where they are.
 */
const path = z.string().min(1).max(4096);

const pin = z
  .strictObject({
    file: path
      .optional()
      .describe('A file of mode 0400 or 0600. One trailing newline is not part of the PIN.'),
    credential: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,255}$/, 'must be the name of a systemd credential')
      .optional()
      .describe('The name of a systemd credential (`LoadCredential=`), read from `$CREDENTIALS_DIRECTORY`.'),
    command: z
      .array(z.string().min(1).max(4096))
      .min(1)
      .max(64)
      .optional()
      .describe(
        'A program by its absolute path, and its arguments. No shell. Its output goes to the worker alone.',
      ),
  })
  .describe(
    'Where the worker gets the user PIN. Exactly one of the three. A PIN itself is never written here.',
  );

const token = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9 and dash')
    .describe('What operators call it: `lastmile tokens`, `keys create --tokens`.'),
  module: path.describe('The PKCS#11 library, by its absolute path.'),
  profile: z.enum(PROFILE_NAMES).default('generic').describe('What is known about this module.'),
  serial: z
    .string()
    .min(1)
    .max(16)
    .optional()
    .describe('The serial number of the token, in quotes. This or `label`; the slot number does not matter.'),
  label: z
    .string()
    .min(1)
    .max(32)
    .optional()
    .describe('The label of the token. Refused at start when two have it.'),
  pin,
  sessions: z
    .int()
    .min(1)
    .max(1024)
    .default(8)
    .describe('PKCS#11 sessions kept open: how many operations run at once.'),
  directory: path.default('.').describe('Working directory of the worker. Some modules read relative paths.'),
  environment: z
    .record(z.string(), z.string().max(4096))
    .default({})
    .describe(
      'Variables that the module needs, such as `SOFTHSM2_CONF`. The worker has no others. Never a PIN.',
    ),
  groups: z
    .array(z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'must be the name of a group'))
    .max(16)
    .default([])
    .describe('Groups that the worker keeps, where the module insists (openCryptoki: `pkcs11`).'),
  hang_limit: duration({ min: '1s', max: '10m' })
    .prefault('10s')
    .describe(
      'A single call that takes longer means that the module hangs: the worker is killed and replaced.',
    ),
});

const dnsName = (meaning: string) =>
  z
    .string()
    .regex(
      /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/,
      'must be a DNS name in lower case',
    )
    .describe(meaning);

const pages = z
  .strictObject({
    address: listenAddress().prefault('127.0.0.1:7445').describe('IP address and port, for browsers.'),
    name: dnsName(
      'The DNS name in the address bar. Passkeys are bound to it: with another name, everybody has to enrol again.',
    ),
    public_port: z
      .int()
      .min(1)
      .max(65_535)
      .optional()
      .describe('The port in the address bar, where something forwards it. Default: that of `address`.'),
    certificate: path.describe(
      'PEM file: a certificate for that name that browsers trust, and intermediates.',
    ),
    key: path.describe('PEM file with its private key, of mode 0400 or 0600.'),
  })
  .describe(
    'The pages on which approvers read acts and approve them with passkeys, served by the process of `control`. Without it there are none.',
  );

const secret = z
  .strictObject({
    file: path.optional().describe('A file of mode 0400 or 0600.'),
    credential: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,255}$/, 'must be the name of a systemd credential')
      .optional()
      .describe('The name of a systemd credential (`LoadCredential=`), read from `$CREDENTIALS_DIRECTORY`.'),
  })
  .describe(
    'Where the secret for signatures is: one a line, `whsec_` and base64, or text of at least 24 bytes. Exactly one of the two.',
  );

const destination = z.strictObject({
  name: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'must be 1 to 63 of a-z, 0-9 and dash')
    .describe('What the log calls it.'),
  events: z
    .array(z.enum(NOTICE_TYPES))
    .min(1)
    .max(NOTICE_TYPES.length)
    .default([...NOTICE_TYPES])
    .describe('What it is told.'),
  webhook: z
    .strictObject({
      url: z
        .string()
        .min(1)
        .max(2048)
        .describe(
          '`https://…`; `http://` for loopback addresses in development. Redirects are not followed.',
        ),
      secret,
      ca: path
        .optional()
        .describe('PEM file with the roots that this receiver is trusted by, instead of the public ones.'),
    })
    .optional()
    .describe('JSON by POST, signed (broker/courier/README.md). This or `hook`.'),
  hook: z
    .array(z.string().min(1).max(4096))
    .min(1)
    .max(64)
    .optional()
    .describe(
      'A program by its absolute path, and its arguments. No shell; JSON comes on standard input. This or `webhook`.',
    ),
  timeout: duration({ min: '100ms', max: '2m' }).prefault('10s').describe('For one attempt.'),
});

export const configSchema = z.strictObject({
  version: z.literal(1).describe('Of the format.'),
  profile: z
    .enum(['development', 'production'])
    .describe(
      '`development` listens on loopback only. `production` refuses what `lastmile init` makes for development.',
    ),
  trust_domain: z
    .string()
    .regex(/^[a-z0-9._-]{1,255}$/, 'must be 1 to 255 of a-z, 0-9, dot, dash and underscore')
    .describe('The SPIFFE trust domain that is served.'),
  trust_bundle: path.describe('PEM file with the root certificates of the trust domain.'),
  broker: z
    .strictObject({
      certificate: path.describe(
        'PEM file: the certificate of the broker, its X.509-SVID, and intermediates.',
      ),
      key: path.describe('PEM file with its private key, of mode 0400 or 0600.'),
      dns_name: dnsName(
        'The DNS name that only this certificate has; stock gRPC clients check it.',
      ).optional(),
    })
    .describe('What the broker shows to its clients.'),
  listen: z
    .strictObject({
      workloads: listenAddress()
        .prefault('127.0.0.1:7443')
        .describe('Where workloads connect: key use and nothing else.'),
      gateways: z.int().min(1).max(64).default(1).describe('Processes that share that port.'),
      control: listenAddress()
        .prefault('127.0.0.1:7444')
        .describe('Where operators and auditors connect. Keep it on loopback or on a network of their own.'),
      pages: pages.optional(),
    })
    .prefault({})
    .describe('IP addresses and ports. Port 0 takes any that is free.'),
  administrators: z
    .array(z.string().min(1).max(2048))
    .min(1)
    .max(64)
    .describe(
      'SPIFFE IDs that may call all of Admin and Audit, so that there is somebody before there are roles.',
    ),
  policy: path.describe('The policy file. Watched, and reloaded whole when it changes.'),
  state: path.describe(
    'Directory for what the broker remembers: key catalog, freezes, counters, login attempts.',
  ),
  audit: z
    .strictObject({
      directory: path.describe('Directory of the log.'),
      origin: z
        .string()
        .regex(/^[^\s+]{1,255}$/u, 'must be 1 to 255 characters without spaces and plus signs')
        .describe(
          'The first line of checkpoints: a name for this log that no other log has, such as `example.org/lastmile/1`.',
        ),
      key: z
        .string()
        .regex(/^lastmile\/[A-Za-z0-9._-]{1,64}$/, 'must be a key under `lastmile/`, such as lastmile/log')
        .default('lastmile/log')
        .describe(
          'The Ed25519 key that signs checkpoints. Keys under `lastmile/` cannot be used by workloads.',
        ),
      checkpoint_interval: duration({ min: '100ms', max: '1h' })
        .prefault('1s')
        .describe('How often a grown log is signed.'),
      refusal_window: duration({ min: '1s', max: '1h' })
        .prefault('60s')
        .describe('Repeats of a refusal within this time become one entry.'),
      refusal_quota: size({ min: '16KiB', max: '1GiB' })
        .prefault('1MiB')
        .describe(
          'Bytes of log that the refusals of one workload may fill in an hour; then its connections close.',
        ),
    })
    .describe('The tamper-evident log.'),
  courier: z
    .strictObject({
      destinations: z
        .array(destination)
        .min(1)
        .max(32)
        .describe('Who is told. Nobody else can be: the process that calls out knows no other address.'),
      give_up_after: duration({ min: '1m', max: '30d' })
        .prefault('1d')
        .describe('What was not taken by then is given up, which the operator’s log says.'),
    })
    .optional()
    .describe(
      'Tells others that approvals wait for them, were given or refused, and that emergency access was used.',
    ),
  tokens: z.array(token).min(1).max(64).describe('The HSM tokens that hold keys. One worker process each.'),
  isolation: z
    .strictObject({
      mode: z
        .enum(['users', 'shared', 'auto'])
        .optional()
        .describe(
          '`users`: every child process drops to a user of its own, which needs a start as root. `shared`: all run as one user, and `status` says so. `auto`: the first where possible. Default: `users` in production, where nothing else is accepted, and `auto` in development.',
        ),
      uid_base: z
        .int()
        .min(1000)
        .max(2_000_000_000)
        .default(64_000)
        .describe('The first of the user ids that child processes get.'),
    })
    .prefault({})
    .describe('User ids are the boundary between the processes.'),
  limits: z
    .strictObject({
      max_deadline: duration({ min: '100ms', max: '10m' })
        .prefault('30s')
        .describe('Upper bound for every deadline, and the deadline of callers that give none.'),
      max_connections: z.int().min(1).max(1_000_000).default(4096).describe('Connections to one gateway.'),
      max_connections_per_address: z
        .int()
        .min(1)
        .max(1_000_000)
        .default(1024)
        .describe('Of them, from one IP address.'),
      max_streams_per_connection: z
        .int()
        .min(1)
        .max(65_536)
        .default(256)
        .describe('HTTP/2 streams at once on one connection.'),
      max_stream_in_flight: z
        .int()
        .min(1)
        .max(65_536)
        .default(256)
        .describe('Messages of one `SignStream` that are not answered yet; beyond that it is not read.'),
    })
    .prefault({})
    .describe('Bounds on what one caller can hold.'),
  telemetry: z
    .strictObject({
      metrics_file: path
        .optional()
        .describe(
          'File for metrics in the text format of Prometheus, for the textfile collector of a node exporter, such as `/var/lib/prometheus/node-exporter/lastmile.prom`. Its directory exists. Without it there are none.',
        ),
      interval: duration({ min: '1s', max: '1h' }).prefault('15s').describe('How often it is written.'),
    })
    .prefault({})
    .describe('What operators watch. Names no workload and no key.'),
});

export type ConfigDocument = z.output<typeof configSchema>;
