/** The parts of a rule that depend on the moment and on what is asked for, ready to be decided with. */
import {
  Activation,
  compileExpression,
  type Evaluation,
  type Expression,
  type ExpressionKind,
} from './condition/expression.ts';
import { FactsError } from './condition/facts.ts';
import type { Circumstances, Guard, KeyUseQuestion, Limit } from './decision.ts';
import { type DynamicParts, MAX_OBSERVATION_MS } from './load-rule.ts';
import type { Quorum } from './quorum.ts';
import { quorumWords } from './quorum-words.ts';
import { typedGaps } from './typed-rule.ts';
import {
  describeClosed,
  isAlwaysOpen,
  isPossiblyOpen,
  isSurelyOpen,
  isUsableClock,
  type Schedule,
} from './windows.ts';

/** One request, as the rules that may decide it look at it. Made for one decision and forgotten. */
export class RequestView {
  readonly question: KeyUseQuestion;
  readonly circumstances: Circumstances | undefined;
  readonly maxDoubtMs: number;
  #activation: Activation | string | undefined;

  /** `spiffeId` and `key` of the question must be well-formed. */
  constructor(question: KeyUseQuestion, maxDoubtMs: number) {
    this.question = question;
    this.circumstances = question.circumstances;
    this.maxDoubtMs = maxDoubtMs;
  }

  /** The same request at another moment. */
  at(now: number, clockDoubtMs: number): RequestView {
    const { circumstances } = this;
    if (circumstances === undefined) return this;
    return new RequestView(
      { ...this.question, circumstances: { ...circumstances, now, clockDoubtMs } },
      this.maxDoubtMs,
    );
  }

  /** A text says why there is none. */
  get activation(): Activation | string {
    this.#activation ??= this.#activate();
    return this.#activation;
  }

  #activate(): Activation | string {
    const { circumstances } = this;
    if (circumstances === undefined) return 'the request is not known';
    const { now, clockDoubtMs } = circumstances;
    try {
      return new Activation(this.question, now, isUsableClock(now, clockDoubtMs, this.maxDoubtMs));
    } catch (error) {
      if (error instanceof FactsError || error instanceof RangeError)
        return 'the request cannot be looked at';
      throw error;
    }
  }
}

/**
 * Compiled when it is first asked: ten thousand of them would hold up whatever else a broker does while it takes up a
 * policy. That each compiles was found out when the file was read.
 */
class LazyExpression {
  readonly #text: string;
  readonly #kind: ExpressionKind;
  #compiled: Expression | string | undefined;

  constructor(text: string, kind: ExpressionKind) {
    this.#text = text;
    this.#kind = kind;
  }

  evaluate(view: RequestView): Evaluation {
    const { activation } = view;
    if (typeof activation === 'string') return { ok: false, message: activation };
    const compiled = this.#expression();
    return typeof compiled === 'string' ? { ok: false, message: compiled } : compiled.evaluate(activation);
  }

  get usesNow(): boolean {
    const compiled = this.#expression();
    return typeof compiled === 'string' || compiled.usesNow;
  }

  #expression(): Expression | string {
    if (this.#compiled === undefined) {
      const result = compileExpression(this.#text, this.#kind);
      this.#compiled = result.ok ? result.expression : result.message;
    }
    return this.#compiled;
  }
}

interface CompiledGuard {
  readonly id: string;
  readonly kind: 'monotonic' | 'unique';
  readonly expression: LazyExpression;
}

export class DynamicRule {
  readonly limits: readonly Limit[];
  /** It is never used up, and nobody is asked: neither limits nor guards nor a quorum. */
  readonly isFree: boolean;
  readonly observeUntil: number | undefined;
  readonly quorum: Quorum | undefined;
  readonly #schedule: Schedule;
  readonly #isAlwaysOpen: boolean;
  readonly #parts: DynamicParts;
  readonly #when: LazyExpression | undefined;
  readonly #guards: readonly CompiledGuard[];

  constructor(parts: DynamicParts) {
    this.limits = parts.limits;
    this.isFree = parts.limits.length === 0 && parts.guards.length === 0 && parts.quorum === undefined;
    this.observeUntil = parts.observeUntil;
    this.quorum = parts.quorum;
    this.#parts = parts;
    this.#schedule = parts.schedule;
    this.#isAlwaysOpen = isAlwaysOpen(parts.schedule);
    this.#when = parts.when === undefined ? undefined : new LazyExpression(parts.when, 'condition');
    this.#guards = parts.guards.map(({ id, kind, expression }) => ({
      id,
      kind,
      expression: new LazyExpression(expression, kind),
    }));
  }

  /**
   * For an allow rule: what does not hold, in words. Beyond the first gap nothing is looked at unless `all` are asked
   * for; guards that have a value are pushed to `guards`.
   */
  gaps(view: RequestView, guards: Guard[], all: boolean): readonly string[] {
    const gaps: string[] = [];
    const isDone = (): boolean => !all && gaps.length > 0;
    gaps.push(...this.#timeGaps(view));
    if (isDone()) return gaps;
    for (const kind of this.#parts.evidence) {
      if (view.circumstances?.evidence.includes(kind) !== true) gaps.push(`evidence ${kind} is missing`);
    }
    if (isDone()) return gaps;
    gaps.push(...typedGaps(this.#parts.typed, view.question.operation, view.circumstances));
    if (isDone()) return gaps;
    gaps.push(...this.#quorumGaps(view));
    if (isDone()) return gaps;
    gaps.push(...this.#conditionGaps(view));
    if (isDone()) return gaps;
    for (const guard of this.#guards) {
      const result = guard.expression.evaluate(view);
      if (!result.ok) gaps.push(`guard ${guard.kind} failed: ${result.message}`);
      else if (typeof result.value !== 'boolean')
        guards.push({ id: guard.id, kind: guard.kind, value: result.value });
    }
    return gaps;
  }

  /** For a deny rule. Whatever is not known, or fails, is a match. */
  matches(view: RequestView): boolean {
    const { circumstances } = view;
    if (circumstances === undefined) return true;
    return this.#isPossiblyOpen(circumstances, view.maxDoubtMs) && !this.#isSurelyFalse(view);
  }

  /** For a deny rule: why it does not match; empty when it does. */
  escapes(view: RequestView): readonly string[] {
    const { circumstances } = view;
    if (circumstances === undefined || this.matches(view)) return [];
    if (this.#isPossiblyOpen(circumstances, view.maxDoubtMs)) return ['condition is false'];
    const { now, clockDoubtMs } = circumstances;
    return describeClosed(this.#schedule, now, clockDoubtMs, view.maxDoubtMs);
  }

  /** Whether what depends on time still holds, for an allow rule that held a moment ago. */
  stillHolds(view: RequestView): boolean {
    if (this.#timeGaps(view).length > 0) return false;
    return this.#when?.usesNow !== true || this.#conditionGaps(view).length === 0;
  }

  /** Whether what the rule lacks is only recorded. An end that is far away was not checked by anybody: enforced. */
  isObserving(view: RequestView): boolean {
    const { circumstances } = view;
    if (this.observeUntil === undefined || circumstances === undefined) return false;
    const { now, clockDoubtMs } = circumstances;
    return (
      isUsableClock(now, clockDoubtMs, view.maxDoubtMs) &&
      now + clockDoubtMs < this.observeUntil &&
      now - clockDoubtMs >= this.observeUntil - MAX_OBSERVATION_MS
    );
  }

  #isPossiblyOpen({ now, clockDoubtMs }: Circumstances, maxDoubtMs: number): boolean {
    return this.#isAlwaysOpen || isPossiblyOpen(this.#schedule, now, clockDoubtMs, maxDoubtMs);
  }

  #isSurelyFalse(view: RequestView): boolean {
    if (this.#when === undefined) return false;
    const result = this.#when.evaluate(view);
    return result.ok && result.value === false;
  }

  #timeGaps(view: RequestView): readonly string[] {
    if (this.#isAlwaysOpen) return [];
    const { circumstances } = view;
    if (circumstances === undefined) return ['the time is not known'];
    const { now, clockDoubtMs } = circumstances;
    if (isSurelyOpen(this.#schedule, now, clockDoubtMs, view.maxDoubtMs)) return [];
    return describeClosed(this.#schedule, now, clockDoubtMs, view.maxDoubtMs);
  }

  /** People agree to what they can see. */
  #quorumGaps({ circumstances }: RequestView): readonly string[] {
    if (this.quorum === undefined) return [];
    if (circumstances === undefined)
      return [`what is asked for is not known, and it needs ${quorumWords(this.quorum)}`];
    if (circumstances.content !== 'digest' || this.quorum.blind) return [];
    return ['a bare digest shows approvers nothing: send the message, or let the quorum say `blind: true`'];
  }

  #conditionGaps(view: RequestView): readonly string[] {
    if (this.#when === undefined) return [];
    const result = this.#when.evaluate(view);
    if (!result.ok) return [`condition failed: ${result.message}`];
    return result.value === true ? [] : ['condition is false'];
  }
}
