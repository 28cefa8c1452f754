/**
 * Canonical JSON (RFC 8785). The slow and obvious way: entries are written in this form by entry-format.ts
 * directly, and tests hold that against this.
 *
 * @throws TypeError for what JSON or RFC 8785 cannot express: undefined in a list, a non-finite number, a lone surrogate
 */
export function canonicalize(value: unknown): string {
  switch (typeof value) {
    case 'string':
      if (!value.isWellFormed()) throw new TypeError('a lone surrogate has no canonical form');
      return JSON.stringify(value);
    case 'number':
      if (!Number.isFinite(value)) throw new TypeError('a number that is not finite has no canonical form');
      return JSON.stringify(value);
    case 'boolean':
      return value ? 'true' : 'false';
    case 'object': {
      if (value === null) return 'null';
      if (Array.isArray(value)) return `[${value.map(canonicalize).join(',')}]`;
      // The default order of sort() is that of UTF-16 code units, as section 3.2.3 asks.
      const members = Object.entries(value).filter(([, member]) => member !== undefined);
      members.sort(([a], [b]) => (a < b ? -1 : 1));
      return `{${members.map(([name, member]) => `${canonicalize(name)}:${canonicalize(member)}`).join(',')}}`;
    }
    default:
      throw new TypeError(`a ${typeof value} has no canonical form`);
  }
}
