import { RE2JS } from 're2js';

/** Instructions of a compiled pattern: repetitions such as `a{100}` are written out in them. */
export const MAX_PATTERN_PROGRAM = 1000;
/**
 * Instructions times characters that the patterns of one evaluation may take. Linear time is not yet little time: at
 * worst every instruction is looked at for every character, 40 ns each, and that while nobody else is served.
 */
export const MAX_PATTERN_STEPS = 4_000_000;

/** Evaluation is synchronous, so that one count is enough: of the evaluation that is going on. */
let stepsLeft = 0;

export function beginPatternSteps(): void {
  stepsLeft = MAX_PATTERN_STEPS;
}

export class PatternStepsError extends Error {
  override readonly name = 'PatternStepsError';
}

/** A regular expression of RE2's syntax, found anywhere in a text; never backtracks. */
export class LinearPattern {
  readonly programSize: number;
  readonly #pattern: RE2JS;

  /** @throws RE2JSException */
  constructor(pattern: string) {
    this.#pattern = RE2JS.compile(pattern);
    this.programSize = this.#pattern.programSize();
  }

  /** @throws PatternStepsError */
  test(text: string): boolean {
    stepsLeft -= this.programSize * (text.length + 1);
    if (stepsLeft < 0) throw new PatternStepsError('the patterns have too much text to look through');
    return this.#pattern.test(text);
  }
}
