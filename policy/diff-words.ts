import type { PolicyDiff } from './diff.ts';
import type { AccessChange } from './diff-access.ts';
import type { FieldChange, PartChange } from './diff-parts.ts';

/** Lines for people: rules first, then what they come to. */
export function diffLines({ parts, access, isCut }: PolicyDiff): string[] {
  if (parts.length === 0) return ['no difference'];
  const lines: string[] = [];
  for (const changed of parts) {
    const { change, part, id, fields } = changed;
    lines.push(`${part}${id === '' ? '' : ` ${id}`} ${change}${consequence(changed)}`);
    if (change === 'removed') continue;
    for (const field of fields) lines.push(...fieldLines(part, field).map((line) => `  ${line}`));
  }
  if (access.length === 0) lines.push('nobody gains or loses anything');
  for (const change of access) lines.push(accessLine(change));
  if (isCut) lines.push('the files have too many patterns: these are not all who gain or lose');
  return lines;
}

function consequence({ part, change }: PartChange): string {
  if (part !== 'governance' || change === 'changed') return '';
  return change === 'added'
    ? ': from then on a changed file alone changes nothing'
    : ': from then on whoever can write the policy file changes the policy, and nobody has to agree';
}

function fieldLines(part: string, { field, before, after }: FieldChange): string[] {
  // Who is in a group, and with which keys somebody signs: one by one, so that one more is not overlooked.
  if ((part === 'group' && field === 'entries') || (part === 'approver' && field === 'keys')) {
    const [old, next] = [items(before), items(after)];
    const what = part === 'group' ? '' : 'the key ';
    return [
      ...next.filter((item) => !old.includes(item)).map((item) => `gains ${what}${item}`),
      ...old.filter((item) => !next.includes(item)).map((item) => `loses ${what}${item}`),
    ];
  }
  const isQuorum = field === 'quorum' || field === 'governance';
  const [old, next] = isQuorum ? [quorumText(before), quorumText(after)] : [before, after];
  if (old === undefined) return [`${field}: ${next}`];
  return [next === undefined ? `${field}: no longer given, was ${old}` : `${field}: ${old} becomes ${next}`];
}

function items(list: string | undefined): string[] {
  if (list === undefined) return [];
  return (JSON.parse(list) as unknown[]).map((item) =>
    typeof item === 'string' ? item : JSON.stringify(item),
  );
}

/** `2 approvals of treasury, within 15m`: how many and of whom first, then the rest as it is written. */
function quorumText(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const { approvals, of, ...rest } = JSON.parse(text) as { readonly [name: string]: unknown };
  const more = Object.entries(rest).map(
    ([name, value]) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`,
  );
  const groups = Array.isArray(of) ? of.join(', ') : String(of);
  return [`${approvals} ${approvals === 1 ? 'approval' : 'approvals'} of ${groups}`, ...more].join(', ');
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
