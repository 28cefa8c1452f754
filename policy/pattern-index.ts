import type { Pattern } from './pattern.ts';

interface IndexNode {
  readonly literals: Map<string, IndexNode>;
  one: IndexNode | undefined;
  many: IndexNode | undefined;
  /** A `**` node stays active whatever segment comes. */
  readonly staysActive: boolean;
  readonly values: number[];
}

/**
 * Patterns sharing their beginnings, so that finding all that match a name costs what matches and not what exists:
 * ten thousand rules about other workloads are never looked at.
 */
export class PatternIndex {
  readonly #root = emptyNode(false);

  add(pattern: Pattern, value: number): void {
    let node = this.#root;
    for (const segment of pattern.segments) {
      if (segment === '*') {
        node.one ??= emptyNode(false);
        node = node.one;
      } else if (segment === '**') {
        node.many ??= emptyNode(true);
        node = node.many;
      } else {
        let next = node.literals.get(segment);
        if (next === undefined) {
          next = emptyNode(false);
          node.literals.set(segment, next);
        }
        node = next;
      }
    }
    if (node.values.at(-1) !== value) node.values.push(value);
  }

  /** Values of every pattern that matches, each once. `segments` must be of a well-formed name. */
  find(segments: readonly string[]): Set<number> {
    let active = new Set<IndexNode>();
    activate(active, this.#root);
    for (const segment of segments) {
      const next = new Set<IndexNode>();
      for (const node of active) {
        if (node.staysActive) activate(next, node);
        if (node.one !== undefined) activate(next, node.one);
        const literal = node.literals.get(segment);
        if (literal !== undefined) activate(next, literal);
      }
      active = next;
    }
    const found = new Set<number>();
    for (const node of active) for (const value of node.values) found.add(value);
    return found;
  }
}

function emptyNode(staysActive: boolean): IndexNode {
  return { literals: new Map(), one: undefined, many: undefined, staysActive, values: [] };
}

// `**` may stand for nothing.
function activate(active: Set<IndexNode>, node: IndexNode): void {
  active.add(node);
  if (node.many !== undefined) active.add(node.many);
}
