import { z } from 'zod';
import { certificateProfile } from './profile-schema.ts';
import { approver, governance, groups, lifecycleRule, MAX_APPROVERS, MAX_GROUPS } from './quorum-schema.ts';
import { dates, rule } from './rule-schema.ts';
import { duration, id, keyPatterns, workloadPatterns } from './schema-parts.ts';
import { ROLE_METHOD_PATTERNS } from './vocabulary.ts';

/** What the format will have and this version does not enforce: a policy that says it is refused, never half obeyed. */
export const NOT_YET_IN_POLICY: ReadonlySet<string> = new Set([
  'proof',
  'raw',
  'is',
  'jwt-svid',
  'oidc',
  'tpm',
  'sign-ssh-certificate',
  'Approvals.*',
]);

export const MAX_RULES = 20_000;
export const MAX_ROLES = 256;
export const DEFAULT_WEIGHT = 100;

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

const weight = z.strictObject({
  workloads: workloadPatterns,
  weight: z
    .number()
    .int()
    .min(1)
    .max(1000)
    .describe(`Share of a busy token, beside ${DEFAULT_WEIGHT} of whoever is not named.`),
});

export const policySchema = z.strictObject({
  version: z.literal(1).describe('Of the format.'),
  roles: z.array(role).max(MAX_ROLES).default([]).describe('Who may operate and audit. Default deny.'),
  approvers: z.array(approver).max(MAX_APPROVERS).default([]).describe('Who can be asked to approve.'),
  groups: groups
    .refine((named) => Object.keys(named).length <= MAX_GROUPS, `are more than ${MAX_GROUPS}`)
    .default({})
    .describe('Names for several `approvers`, for `quorum`.'),
  governance: governance.optional(),
  lifecycle: z
    .array(lifecycleRule)
    .max(MAX_RULES)
    .default([])
    .describe('Which keys are only made or imported with approvals.'),
  calendars: z
    .record(id, dates)
    .default({})
    .describe(
      'Named lists of dates, such as holidays and change freezes, for `except` of windows: `2026-12-24`, `2026-12-24..2027-01-06`, or `12-25` for every year.',
    ),
  clock: z
    .strictObject({
      maxDoubt: duration
        .default('1s')
        .describe('How far the clock may be in doubt; beyond it windows are closed. At most `5m`.'),
    })
    .default({ maxDoubt: '1s' })
    .describe('How exact time must be.'),
  certificateProfiles: z
    .array(certificateProfile)
    .max(256)
    .default([])
    .describe('What certificates may be, for `sign-certificate`.'),
  weights: z
    .array(weight)
    .max(1024)
    .default([])
    .describe('Fair shares of busy tokens. Of several that match, the smallest holds.'),
  rules: z
    .array(rule)
    .max(MAX_RULES)
    .default([])
    .describe('Which workload may use which key for what. Default deny.'),
});

export type PolicyDocument = z.output<typeof policySchema>;
export type RoleDocument = PolicyDocument['roles'][number];
export type RuleDocument = PolicyDocument['rules'][number];
export type CertificateProfileDocument = PolicyDocument['certificateProfiles'][number];
