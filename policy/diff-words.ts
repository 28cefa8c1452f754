import type { AccessChange, PolicyDiff } from './diff.ts';

/** Lines for people: rules first, then what they come to. */
export function diffLines({ parts, access, isCut }: PolicyDiff): string[] {
  if (parts.length === 0) return ['no difference'];
  const lines: string[] = [];
  for (const { change, part, id, fields } of parts) {
    lines.push(`${part}${id === '' ? '' : ` ${id}`} ${change}`);
    if (change === 'removed') continue;
    for (const { field, before, after } of fields) {
      lines.push(
        before === undefined
          ? `  ${field}: ${after}`
          : after === undefined
            ? `  ${field}: no longer given, was ${before}`
            : `  ${field}: ${before} becomes ${after}`,
      );
    }
  }
  if (access.length === 0) lines.push('nobody gains or loses anything');
  for (const change of access) lines.push(accessLine(change));
  if (isCut) lines.push('the files have too many patterns: these are not all who gain or lose');
  return lines;
}

function accessLine({
  change,
  workloads,
  keys,
  operation,
  algorithms,
  rules,
  isConditional,
}: AccessChange): string {
  const what = `${operation}${keys === '' ? '' : ` with ${keys}`}${algorithms.length === 0 ? '' : ` (${algorithms.join(', ')})`}`;
  const by = rules.length === 0 ? '' : `by ${rules.join(', ')}`;
  switch (change) {
    case 'gains':
      return `${workloads} gains ${what}, ${by}${isConditional ? ' and its conditions' : ''}`;
    case 'loses':
      return `${workloads} loses ${what}${by === '' ? ': no rule allows it' : `: denied ${by}`}`;
    case 'conditions':
      return `${workloads} keeps ${what}, ${by}, ${isConditional ? 'under other conditions' : 'now without conditions'}`;
    default:
      return change satisfies never;
  }
}
