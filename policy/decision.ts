/** What a workload may ask for; a rule's `operations` names these. */
export const OPERATIONS = [
  'sign',
  'verify',
  'encrypt',
  'decrypt',
  'mac',
  'verify-mac',
  'generate-data-key',
  'random',
] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Everything a decision about a key use may look at. Plain data; nothing is fetched. */
export interface KeyUseQuestion {
  readonly spiffeId: string;
  readonly operation: Operation;
  /** Empty for `random`, which uses no key. */
  readonly key: string;
  readonly algorithm: string;
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
  /** What did not hold, in words: `workload does not match`, `operation decrypt is not among sign, verify`. */
  readonly missing: readonly string[];
}

/** `pending` comes with approvals. */
export interface Decision {
  readonly effect: 'allow' | 'deny';
  /** The deciding rule's id; empty when no rule matched (default deny). */
  readonly rule: string;
  /** `sha256:…` of the policy file's bytes. */
  readonly policyHash: string;
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
export interface PolicySet {
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
}
