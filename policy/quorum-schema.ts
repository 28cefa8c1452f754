import { z } from 'zod';
import { APPROVAL_METHODS } from './quorum.ts';
import { duration, id, keyPatterns, workloadPatterns } from './schema-parts.ts';

export const MAX_APPROVERS = 1024;
export const MAX_GROUPS = 256;

/** Methods of Admin that `lifecycle` can put behind approvals. */
export const LIFECYCLE_METHODS = ['Admin.CreateKey', 'Admin.ImportKey'] as const;
export type LifecycleMethod = (typeof LIFECYCLE_METHODS)[number];

const approverKey = z
  .strictObject({
    method: z.enum(APPROVAL_METHODS).describe('What is signed with it: SSH signatures, JWS, or passkeys.'),
    publicKey: z
      .string()
      .min(1)
      .max(4096)
      .describe(
        '`sshsig`: a line as in authorized_keys. `jws`: a public JWK as JSON, in quotes. `webauthn`: the COSE key, base64url.',
      ),
    credentialId: z.string().min(1).max(1400).optional().describe('Of a passkey, base64url.'),
  })
  .describe('Public halves alone.');

export const approver = z.strictObject({
  id: id.describe('What the log and acts call this person: a name that means nothing to strangers.'),
  keys: z.array(approverKey).min(1).max(16).describe('What this person signs with. Any of them.'),
  spiffeId: z
    .string()
    .min(1)
    .max(2048)
    .optional()
    .describe('Of this person when calling `Approvals`. Requests under it are this person’s own.'),
  alsoRequestsAs: workloadPatterns
    .optional()
    .describe('Requests of these are this person’s own: nobody approves what they asked for.'),
  description: z.string().max(1024).optional().describe('For people.'),
});

export const groups = z.record(id, z.array(id).min(1).max(MAX_APPROVERS).describe('Ids of `approvers`.'));

const numberOfPeople = z
  .number()
  .int()
  .min(1)
  .max(MAX_APPROVERS)
  .describe('How many different people must agree. At least 1; there is no default.');
const of = z
  .union([id, z.array(id).min(1).max(32)], {
    error: 'must be the name of a group, or a list of names',
  })
  .describe('A group, or several: a member of any of them counts, and everybody counts once.');
const methods = z
  .array(z.enum(APPROVAL_METHODS))
  .min(1)
  .max(APPROVAL_METHODS.length)
  .optional()
  .describe(
    'How they may sign; without it, any way. Without `webauthn`, nothing that a page shows has to be believed.',
  );
const within = duration.describe('From the request until it is approved and used: `1m` to `30d`.');

export const quorum = z
  .strictObject({
    approvals: numberOfPeople,
    of,
    within,
    uses: z
      .number()
      .int()
      .min(1)
      .max(1_000_000)
      .default(1)
      .describe('How often what was approved may be used.'),
    methods,
    blind: z
      .boolean()
      .default(false)
      .describe('`true`: bare digests are taken, and approvers see `content not shown`.'),
    presence: z
      .enum(['required', 'none'])
      .default('required')
      .describe('`required`: FIDO keys and passkeys must say that somebody was there (UP; passkeys UV too).'),
    covers: z
      .enum(['act', 'rule'])
      .default('act')
      .describe(
        '`act`: this content alone. `rule`: whatever the rule allows to this workload, `uses` times within `within`.',
      ),
    emergency: z
      .boolean()
      .default(false)
      .describe('Break-glass: asked for after every other rule, and loud in log, metrics and webhooks.'),
  })
  .describe('Who must agree before the rule counts. Allow rules only.');

export const governance = z
  .strictObject({ approvals: numberOfPeople, of, within, methods })
  .describe(
    'Who must agree to another policy. With it, a changed file alone changes nothing, and `governance` itself changes only under the one in force.',
  );

export const lifecycleRule = z
  .strictObject({
    id,
    methods: z
      .array(z.enum(LIFECYCLE_METHODS))
      .min(1)
      .max(LIFECYCLE_METHODS.length)
      .describe('What needs approvals.'),
    keys: keyPatterns.optional().describe('For keys of these names; without it for every key.'),
    quorum: z.strictObject({ approvals: numberOfPeople, of, within, methods }).describe('Who must agree.'),
    description: z.string().max(1024).optional().describe('For people.'),
  })
  .describe('No two of them may be about one method and one key.');

export type ApproverDocument = z.output<typeof approver>;
export type QuorumDocument = z.output<typeof quorum>;
export type GovernanceDocument = z.output<typeof governance>;
export type LifecycleDocument = z.output<typeof lifecycleRule>;
