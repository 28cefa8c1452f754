/**
 * Requests decided with their limits and guards counted, for replays and for cases.
 */
import type { ExplainedDecision, KeyUseQuestion, PolicySet } from './decision.ts';
import { quorumWords } from './quorum-words.ts';
import { ReplayGuards, ReplayLimits, type ReplayLimitsOptions } from './replay-counters.ts';

/** What of a policy a replay asks. */
export type ReplayedPolicy = Pick<
  PolicySet,
  'hash' | 'decide' | 'explain' | 'usableOperations' | 'takesRawSigning'
>;

/** A decision with its limits and guards counted. */
export interface PlayedDecision {
  /** `pending`: people have to agree, and nobody says that they have. */
  readonly effect: 'allow' | 'deny' | 'pending';
  /** The deciding rule; empty: none. */
  readonly rule: string;
  /** Why it is denied, or what it waits for, in words; empty where the rules alone say it. */
  readonly why: string;
  /** Who had to agree, in words; empty: nobody. */
  readonly quorum: string;
  /** Limits and guards have not been used after all. */
  giveBack(): void;
}

const RAW_REFUSED = 'a rule for typed signing names the key, which then signs nothing else';
const NOTHING = (): void => undefined;

/** Requests decided one after the other, as a broker would that started with empty counters. */
export class PolicyPlayer {
  readonly policy: ReplayedPolicy;
  readonly limits: ReplayLimits;
  readonly guards: ReplayGuards;

  constructor(
    policy: ReplayedPolicy,
    options: ReplayLimitsOptions & { readonly maxGuardValues?: number } = {},
  ) {
    this.policy = policy;
    this.limits = new ReplayLimits(options);
    this.guards = new ReplayGuards(options.maxGuardValues);
  }

  /** @param isApproved people have agreed to this request, whoever a rule may ask */
  play(question: KeyUseQuestion, isApproved = false): PlayedDecision {
    const { effect, rule, alternatives } = this.policy.decide(question);
    // As key use does after the rules: bare bytes could be anything.
    if (effect === 'allow' && question.operation === 'sign' && !this.policy.takesRawSigning(question.key)) {
      return { effect: 'deny', rule, why: RAW_REFUSED, quorum: '', giveBack: NOTHING };
    }
    if (effect === 'deny' || alternatives === undefined || alternatives.length === 0) {
      return { effect, rule, why: '', quorum: '', giveBack: NOTHING };
    }
    const { circumstances } = question;
    const request = {
      spiffeId: question.spiffeId,
      key: question.key,
      bytes: circumstances?.bytes ?? 0,
      now: circumstances?.now ?? 0,
    };
    let refusal: { readonly rule: string; readonly why: string } | undefined;
    for (const allowance of alternatives) {
      const taken = this.limits.take(allowance.limits, request);
      if (!taken.ok) {
        refusal ??= { rule: allowance.rule, why: limitWords(taken.limit, taken.retryAfterMs) };
        continue;
      }
      const quorum = allowance.quorum === undefined ? '' : quorumWords(allowance.quorum);
      if (quorum !== '' && !isApproved) {
        // What is not approved does not run, and uses nothing up.
        taken.giveBack();
        return { effect: 'pending', rule: allowance.rule, why: `needs ${quorum}`, quorum, giveBack: NOTHING };
      }
      const reserved = this.guards.reserve(allowance.guards, question.key);
      if (!reserved.ok) {
        taken.giveBack();
        const why = `the guard \`${reserved.guard.id}\` does not hold: ${reserved.message}`;
        return { effect: 'deny', rule: allowance.rule, why, quorum: '', giveBack: NOTHING };
      }
      return {
        effect: 'allow',
        rule: allowance.rule,
        why: '',
        quorum,
        giveBack: () => {
          taken.giveBack();
          reserved.release();
        },
      };
    }
    return { effect: 'deny', ...(refusal ?? { rule, why: '' }), quorum: '', giveBack: NOTHING };
  }
}

function limitWords(
  limit: { readonly id: string; readonly max: number; readonly unit: string },
  retryAfterMs: number | undefined,
): string {
  const again = retryAfterMs === undefined ? 'for good' : `for another ${Math.ceil(retryAfterMs)} ms`;
  return `the limit \`${limit.id}\` of ${limit.max} ${limit.unit} is used up ${again}`;
}

/** Why a decision is a denial: what counted against it, or what the allow rule that came nearest lacked. */
export function whyDenied(explained: ExplainedDecision): string {
  const denying = explained.considered.find(({ effect, matched }) => effect === 'deny' && matched);
  if (denying !== undefined) return `denied by the rule ${denying.rule}`;
  const [nearest] = explained.considered
    .filter(({ effect, matched }) => effect === 'allow' && !matched)
    .toSorted((a, b) => a.missing.length - b.missing.length);
  return nearest === undefined
    ? 'no rule allows it'
    : `no rule allows it; nearest is ${nearest.rule}: ${nearest.missing.join('; ')}`;
}
