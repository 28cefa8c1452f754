import { z } from 'zod';
import { OPERATIONS } from './decision.ts';
import { quorum } from './quorum-schema.ts';
import { duration, id, keyPatterns, workloadPatterns } from './schema-parts.ts';
import { POLICY_ALGORITHMS } from './vocabulary.ts';

const instant = z.string().min(1).max(40);
const description = z.string().max(1024).optional().describe('For people.');
const texts = (what: string) =>
  z.array(z.string().min(1).max(1024)).min(1).max(256).optional().describe(what);

export const dates: z.ZodArray<z.ZodString> = z.array(z.string().min(1).max(32)).min(1).max(512);

const window = z.strictObject({
  days: z
    .string()
    .min(1)
    .max(64)
    .default('mon-sun')
    .describe('`mon-fri`, `sat,sun`: the days on which it begins.'),
  from: z.string().min(1).max(8).default('00:00').describe('`HH:MM` on the wall clock of the zone.'),
  to: z
    .string()
    .min(1)
    .max(8)
    .default('24:00')
    .describe('`HH:MM`, itself outside; not after `from`: on the next day.'),
  zone: z.string().min(1).max(64).describe('IANA time zone, such as `Europe/Berlin` or `UTC`.'),
  dates: dates
    .optional()
    .describe('Only on these: `2026-12-24`, `2026-12-24..2027-01-06`, or `12-24` for every year.'),
  except: z
    .array(id)
    .min(1)
    .max(16)
    .optional()
    .describe('Names of `calendars` on whose dates it stays closed.'),
});

const limit = z.strictObject({
  max: z.number().int().min(1).describe('Calls, or bytes.'),
  per: z
    .string()
    .min(1)
    .max(16)
    .describe('`1s`, `1m`, `1h`, `1d`, `30d`, or `life`: then what is used up never comes back.'),
  by: z
    .enum(['workload', 'key', 'workload-and-key', 'trust-domain', 'rule'])
    .describe('What is counted apart from others of its kind.'),
  unit: z.enum(['calls', 'bytes']).default('calls').describe('What is counted.'),
  window: z
    .enum(['smooth', 'fixed'])
    .default('smooth')
    .describe(
      '`smooth`: no interval of that length sees more than 1.1 × `max`. `fixed`: windows that begin with the first use.',
    ),
  burst: z
    .number()
    .int()
    .min(1)
    .optional()
    .describe(
      'How many may come at once, at most `max`; the rest of `max` is spread over `per`. Smooth only.',
    ),
});

const guard = z
  .strictObject({
    monotonic: z
      .string()
      .min(1)
      .max(4096)
      .optional()
      .describe('An expression (CEL): a whole number that must be higher than every one before.'),
    unique: z
      .string()
      .min(1)
      .max(4096)
      .optional()
      .describe('An expression (CEL): a text or whole number that was never signed before.'),
  })
  .describe('Either of the two.');

const jwt = z
  .strictObject({
    issuers: texts('`iss` must be one of these. `*` stands for any characters.'),
    subjects: texts('`sub` must be one of these. `*` stands for any characters.'),
    audiences: texts('Every audience in `aud` must be one of these, and there must be one.'),
    types: texts('Header parameter `typ` must be one of these.'),
    claims: texts('Beside `iss`, `sub`, `aud` and what the broker writes, only these claims.'),
    maxLifetime: duration.optional().describe('From `iat` to `exp` at most.'),
  })
  .describe('What a JWT must be. Only for `sign-jwt`.');

const certificate = z
  .strictObject({
    profiles: z
      .array(id)
      .min(1)
      .max(64)
      .describe('Ids of `certificateProfiles`: one of these must be asked for.'),
    maxLifetime: duration
      .optional()
      .describe('From `notBefore` to `notAfter` at most, as far as it is asked for.'),
  })
  .describe('What a certificate must be. Only for `sign-certificate`.');

const dsse = z
  .strictObject({
    payloadTypes: texts('`payloadType` must be one of these. `*` stands for any characters.'),
    predicateTypes: texts('`predicateType` of an in-toto statement must be one of these.'),
    subjects: texts('The name of every subject must be one of these, and there must be one.'),
  })
  .describe('What a DSSE envelope must hold. Only for `sign-dsse`.');

/** Kinds of evidence that some verifier of this version can produce. */
export const EVIDENCE_KINDS = ['x509-svid'] as const;

export const rule = z.strictObject({
  id,
  effect: z
    .enum(['allow', 'deny'])
    .default('allow')
    .describe('A deny rule that matches wins over every allow rule.'),
  workloads: workloadPatterns,
  keys: keyPatterns
    .optional()
    .describe(
      'Key names, required but for `operations: [random]`. `*` is exactly one segment, `**` any number.',
    ),
  operations: z
    .array(z.enum(OPERATIONS))
    .min(1)
    .max(OPERATIONS.length)
    .describe('What may be done. `random` uses no key and has a rule of its own.'),
  algorithms: z
    .array(z.enum([...POLICY_ALGORITHMS, 'EdDSA']))
    .min(1)
    .max(POLICY_ALGORITHMS.length + 1)
    .optional()
    .describe('JOSE names; without it, every algorithm of the key. `EdDSA` is read as `Ed25519`.'),
  windows: z.array(window).min(1).max(32).optional().describe('Only at these times: within any of them.'),
  'not-before': instant
    .optional()
    .describe('Not before this moment (RFC 3339), such as `2026-12-01T00:00:00Z`.'),
  'not-after': instant.optional().describe('Not at this moment (RFC 3339) or later.'),
  when: z
    .string()
    .min(1)
    .max(4096)
    .optional()
    .describe(
      'A condition (CEL) over `request`, `workload`, `evidence`, `key`, `connection` and `now`. If it fails, an allow rule does not hold and a deny rule matches.',
    ),
  evidence: z
    .strictObject({
      has: z.array(z.enum(EVIDENCE_KINDS)).min(1).max(8).describe('All of these.'),
    })
    .optional()
    .describe('What the identity must rest on.'),
  jwt: jwt.optional(),
  certificate: certificate.optional(),
  dsse: dsse.optional(),
  limits: z
    .array(limit)
    .min(1)
    .max(16)
    .optional()
    .describe('All of them must have room; all are consumed together.'),
  guards: z
    .array(guard)
    .min(1)
    .max(8)
    .optional()
    .describe('What must hold against everything signed before. Only for typed signing.'),
  quorum: quorum.optional(),
  mode: z
    .enum(['enforce', 'observe'])
    .default('enforce')
    .describe(
      '`observe`: what the rule lacks is recorded and refuses nothing. Only without wildcards, only until `until`.',
    ),
  until: instant
    .optional()
    .describe('End of `observe` (RFC 3339), at most 14 days away; from then on the rule is enforced.'),
  description,
});
