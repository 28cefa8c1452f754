import { z } from 'zod';
import { OPERATIONS } from './decision.ts';
import { POLICY_ALGORITHMS, ROLE_METHOD_PATTERNS } from './vocabulary.ts';

/** What the format will have and this version does not enforce: a policy that says it is refused, never half obeyed. */
export const NOT_YET_IN_POLICY: ReadonlySet<string> = new Set([
  'windows',
  'limits',
  'quorum',
  'when',
  'evidence',
  'mode',
  'groups',
  'guards',
  'proof',
  'raw',
  'sign-ssh-certificate',
  'Approvals.*',
]);

export const MAX_RULES = 20_000;
export const MAX_ROLES = 256;

const id = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'must be 1 to 64 letters, digits, dots, dashes and underscores')
  .describe('Stands in every decision and audit entry. Unique among rules and roles.');

const workloadPatterns = z
  .array(z.string().min(1).max(2048))
  .min(1)
  .max(256)
  .describe('SPIFFE IDs. `*` is exactly one path segment, `**` any number. The trust domain is literal.');

const keyPatterns = z
  .array(z.string().min(1).max(128))
  .min(1)
  .max(256)
  .describe(
    'Key names. `*` is exactly one segment, `**` any number. Keys under `lastmile/` cannot be named.',
  );

const scope = z
  .strictObject({
    trustDomains: z
      .array(z.string().min(1).max(255))
      .min(1)
      .max(64)
      .optional()
      .describe('Entries of workloads of these trust domains.'),
    workloads: workloadPatterns.optional().describe('Entries of these workloads.'),
    keys: keyPatterns.optional().describe('Entries about these keys.'),
  })
  .describe(
    'What of the log the members see; without it, everything. Everything named must hold. Audit methods only.',
  );

const role = z.strictObject({
  id,
  members: workloadPatterns.describe(
    'SPIFFE IDs of people and tools that operate or audit. None may match a rule that allows key use.',
  ),
  allow: z
    .strictObject({
      methods: z
        .array(z.enum(ROLE_METHOD_PATTERNS))
        .min(1)
        .max(64)
        .describe('`Admin.*`, `Audit.*` or single methods such as `Audit.Query`.'),
      scope: scope.optional(),
    })
    .describe('What the members may call. Everything else is denied.'),
  description: z.string().max(1024).optional().describe('For people.'),
});

const rule = z.strictObject({
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
  description: z.string().max(1024).optional().describe('For people.'),
});

export const policySchema = z.strictObject({
  version: z.literal(1).describe('Of the format.'),
  roles: z.array(role).max(MAX_ROLES).default([]).describe('Who may operate and audit. Default deny.'),
  rules: z
    .array(rule)
    .max(MAX_RULES)
    .default([])
    .describe('Which workload may use which key for what. Default deny.'),
});

export type PolicyDocument = z.output<typeof policySchema>;
export type RoleDocument = PolicyDocument['roles'][number];
export type RuleDocument = PolicyDocument['rules'][number];
