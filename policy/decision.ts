import type { ApprovalPolicy, Quorum } from './quorum.ts';

/** What a workload may ask for; a rule's `operations` names these. */
export const OPERATIONS = [
  'sign',
  'verify',
  'sign-jwt',
  'sign-certificate',
  'sign-dsse',
  'encrypt',
  'decrypt',
  'mac',
  'verify-mac',
  'generate-data-key',
  'random',
] as const;
export type Operation = (typeof OPERATIONS)[number];

/** The broker builds what is signed, and rules look at what it says. */
export const TYPED_OPERATIONS = ['sign-jwt', 'sign-certificate', 'sign-dsse'] as const satisfies Operation[];
export type TypedOperation = (typeof TYPED_OPERATIONS)[number];

/** Everything a decision about a key use may look at. Plain data; nothing is fetched. */
export interface KeyUseQuestion {
  readonly spiffeId: string;
  readonly operation: Operation;
  /** Empty for `random`, which uses no key. */
  readonly key: string;
  readonly algorithm: string;
  /**
   * What windows, conditions and typed rules look at. Without it, they do not hold in an allow rule and match in a
   * deny rule.
   */
  readonly circumstances?: Circumstances | undefined;
}

/** What a condition can compute with. Frozen by whoever makes it; plain prototypes only. */
export type FactValue =
  | string
  | bigint
  | number
  | boolean
  | null
  | Date
  | readonly FactValue[]
  | { readonly [name: string]: FactValue };
export type Facts = { readonly [name: string]: FactValue };

/** The moment and the request, as the broker saw them; all of it goes into the entry, so that it can be replayed. */
export interface Circumstances {
  /** Milliseconds of the Unix epoch. */
  readonly now: number;
  /** How far `now` may be wrong, milliseconds; Infinity: nobody knows. Windows fail closed beyond the policy's bound. */
  readonly clockDoubtMs: number;
  /** Bytes of message, digest, plaintext or ciphertext, for conditions and limits on bytes. */
  readonly bytes: number;
  readonly content: 'message' | 'digest' | 'ciphertext' | 'plaintext' | 'typed' | 'none';
  /** The version that the caller pinned; 0: the active one. */
  readonly version: number;
  /** Typed signing: what is to be built, under its type's name. */
  readonly typed?: { readonly type: 'jwt' | 'x509' | 'dsse'; readonly facts: Facts } | undefined;
  /** Evidence that the identity rests on: `x509-svid`, later `jwt-svid`, `oidc`, `tpm`. */
  readonly evidence: readonly string[];
  /** Without the port. Empty when unknown. */
  readonly peerAddress: string;
}

export type LimitScope = 'workload' | 'key' | 'workload-and-key' | 'trust-domain' | 'rule';

/** One of a rule's limits. All of a request are checked and consumed in one step, by whoever keeps the counters. */
export interface Limit {
  /** Names the counter: the rule's id and what is counted, but not `max`, so that a changed number keeps the count. */
  readonly id: string;
  readonly max: number;
  /** Milliseconds; undefined: for life, it never comes back. */
  readonly perMs: number | undefined;
  readonly by: LimitScope;
  readonly unit: 'calls' | 'bytes';
  /** `smooth`: no interval of `perMs` sees more than 1.1 × max. `fixed`: a window from first use. */
  readonly window: 'smooth' | 'fixed';
  /** How much may come at once, below `max`; it comes back at `max` in `perMs`, evenly. Not for life. */
  readonly burst?: number | undefined;
}

/** What must hold against history. The value is reserved durably before a token is asked. */
export interface Guard {
  /** Names the history: the rule's id and the expression. */
  readonly id: string;
  readonly kind: 'monotonic' | 'unique';
  /** The value that this request brings: an integer for `monotonic`, text for `unique`. */
  readonly value: bigint | string;
}

/** One allow rule that holds, and what it costs to use it. */
export interface Allowance {
  readonly rule: string;
  readonly limits: readonly Limit[];
  readonly guards: readonly Guard[];
  /** Absent: nobody has to agree. */
  readonly quorum?: Quorum | undefined;
  /** Windows and dates again, at the moment the operation leaves for the token. */
  isOpenAt(now: number, clockDoubtMs: number): boolean;
}

/** A rule on probation: what it would have said. Recorded, not enforced. */
export interface Observation {
  readonly rule: string;
  /** Empty: it holds, but for what only counters can say. */
  readonly missing: readonly string[];
  /** To be counted, and told when one of them would have refused. */
  readonly limits: readonly Limit[];
}

/** Everything a decision about a method of Admin, Audit or Approvals may look at. */
export interface MethodQuestion {
  readonly spiffeId: string;
  /** `Admin.CreateKey`. */
  readonly method: string;
}

export interface RuleVerdict {
  readonly rule: string;
  readonly effect: 'allow' | 'deny';
  readonly matched: boolean;
  /**
   * What did not hold, in words: `workload does not match`, `operation decrypt is not among sign, verify`. Of a rule that
   * matches, what is left to be done: `needs 2 approvals of treasury, within 15m`.
   */
  readonly missing: readonly string[];
}

export interface Decision {
  readonly effect: 'allow' | 'deny';
  /** The deciding rule's id; empty when no rule matched (default deny). */
  readonly rule: string;
  /** `sha256:…` of the policy file's bytes. */
  readonly policyHash: string;
  /**
   * Every allow rule that holds: what costs nothing first, then those without a quorum, then those with one, those for
   * emergencies last; each by id. The first whose limits have room decides; when that has a quorum, all have that
   * hold and have room, and what is decided is that people are to be asked. Absent: `rule` costs nothing and has no windows, or the decision is a denial.
   */
  readonly alternatives?: readonly Allowance[] | undefined;
  readonly observed?: readonly Observation[] | undefined;
}

export interface ExplainedDecision extends Decision {
  readonly considered: readonly RuleVerdict[];
}

export interface MethodDecision extends Decision {
  /** What an auditor's role may see; undefined: everything. */
  readonly scope?:
    | {
        readonly trustDomains?: readonly string[];
        readonly workloads?: readonly string[];
        readonly keys?: readonly string[];
      }
    | undefined;
}

/** A compiled policy: immutable; a reload makes another. */
export interface PolicySet extends ApprovalPolicy {
  readonly hash: string;
  readonly ruleCount: number;
  decide(question: KeyUseQuestion): Decision;
  explain(question: KeyUseQuestion): ExplainedDecision;
  decideMethod(question: MethodQuestion): MethodDecision;
  /**
   * What this identity may do with this key in at least one algorithm; empty: it may not learn that the key exists.
   * For reads (`GetPublicKey`, `ListKeys`), which are allowed where any use is.
   */
  usableOperations(spiffeId: string, key: string): readonly Operation[];
  /** False: an allow rule of typed signing names the key, so that nobody signs with it what is not understood. */
  takesRawSigning(key: string): boolean;
  /** Share of a busy token, 1 to 1000; 100 for whoever is not named. */
  weight(spiffeId: string): number;
  /**
   * What making or importing this key needs before it is done; undefined: nobody has to agree. `method` is
   * `Admin.CreateKey` or `Admin.ImportKey`; the key's name need not be well-formed.
   */
  lifecycleQuorum(method: string, key: string): Required<Pick<Allowance, 'rule' | 'quorum'>> | undefined;
  certificateProfile(id: string): CertificateProfile | undefined;
  /** Rules on probation; whether their time has passed is for whoever has a clock. */
  readonly observing: readonly { readonly rule: string; readonly until: number }[];
  /** Milliseconds; a clock in more doubt closes windows. */
  readonly maxClockDoubtMs: number;
}

/** What a certificate may be, as the builder of certificates takes it: durations are seconds. */
export interface CertificateProfile {
  readonly id: string;
  readonly issuer: string;
  readonly subject: {
    readonly [attribute in 'C' | 'ST' | 'L' | 'O' | 'OU' | 'CN' | 'serialNumber']?: string;
  };
  readonly names: {
    readonly dns?: readonly string[];
    readonly uri?: readonly string[];
    readonly email?: readonly string[];
    readonly ip?: readonly string[];
  };
  readonly wildcards?: boolean;
  readonly validity: { readonly max: number; readonly default?: number; readonly backdate?: number };
  readonly keyUsage: readonly (
    | 'digitalSignature'
    | 'nonRepudiation'
    | 'keyEncipherment'
    | 'dataEncipherment'
    | 'keyAgreement'
    | 'keyCertSign'
    | 'cRLSign'
  )[];
  readonly extKeyUsage?: readonly string[];
  readonly ca?: { readonly pathLength?: number };
  readonly possession?: 'csr' | 'none';
}
