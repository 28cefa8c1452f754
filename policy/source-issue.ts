/** Something wrong in a file that a person wrote: where, what, and what would be right. */
export interface SourceIssue {
  readonly file?: string | undefined;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units, as editors count. */
  readonly column: number;
  /** `rules[2].keys[0]`; empty for the file as a whole. */
  readonly path: string;
  readonly message: string;
  readonly expected?: string | undefined;
  /** The known name that was probably meant. */
  readonly nearest?: string | undefined;
}

/** `policy.yaml:12:5: message (expected …; did you mean …?)` */
export function formatSourceIssue(issue: SourceIssue): string {
  const hints = [
    ...(issue.expected === undefined ? [] : [`expected ${issue.expected}`]),
    ...(issue.nearest === undefined ? [] : [`did you mean \`${issue.nearest}\`?`]),
  ];
  const hint = hints.length === 0 ? '' : ` (${hints.join('; ')})`;
  return `${issue.file ?? '<input>'}:${issue.line}:${issue.column}: ${issue.message}${hint}`;
}

const QUOTED_LENGTH = 64;

/** What the author wrote, safe for a terminal and bounded: messages quote it. */
export function quoteSource(text: string): string {
  const shown = text.length > QUOTED_LENGTH ? `${text.slice(0, QUOTED_LENGTH)}…` : text;
  return `\`${shown.replace(/[\p{Cc}\p{Cf}\u2028\u2029`]/gu, '?')}\``;
}

const COMPARED_LENGTH = 64;

/** The known name closest to what was written, when it is close enough to be a slip of the keyboard. */
export function nearestName(written: string, known: readonly string[]): string | undefined {
  if (written.length > COMPARED_LENGTH) return undefined;
  const plain = plainName(written);
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(plain.length / 3)) + 1;
  for (const name of known) {
    const distance = editDistance(plain, plainName(name));
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

// `trustDomain`, `trust-domain` and `trust_domain` are the same slip.
function plainName(name: string): string {
  return name.toLowerCase().replace(/[-_]/g, '');
}

// Insertions, deletions, substitutions and swaps of neighbours.
function editDistance(a: string, b: string): number {
  let beforePrevious: readonly number[] = [];
  let previous: readonly number[] = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let distance = Math.min((previous[j] ?? 0) + 1, (current[j - 1] ?? 0) + 1, substitution);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, (beforePrevious[j - 2] ?? 0) + 1);
      }
      current.push(distance);
    }
    beforePrevious = previous;
    previous = current;
  }
  return previous[b.length] ?? 0;
}
