import type { Writable } from 'node:stream';

// Names, reasons and labels come from others, and a terminal obeys what it is shown.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Text safe for a terminal: control and formatting characters as `\u{…}`, but for those in `except`. */
export function printable(text: string, except: string = ''): string {
  return text.replace(UNPRINTABLE, (character) =>
    except.includes(character) ? character : `\\u{${character.codePointAt(0)!.toString(16)}}`,
  );
}

/** Columns aligned with two spaces between; the last one is not padded. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const lines = [head, ...rows.map((row) => row.map((cell) => printable(String(cell))))];
  const widths = head.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, column) => (column === line.length - 1 ? cell : cell.padEnd(widths[column]!)))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** `name: value` lines; what is empty is left out. */
export function fields(pairs: readonly (readonly [string, string | number | undefined])[]): string {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== '');
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown
    .map(([name, value]) => `${`${name}:`.padEnd(width + 2)}${printable(String(value))}\n`)
    .join('');
}

export function json(value: unknown): string {
  return `${JSON.stringify(value, (_key, item: unknown) => (isBytes(item) ? Buffer.from(item).toString('base64') : fromBuffer(item)), 2)}\n`;
}

function isBytes(item: unknown): item is Uint8Array {
  return item instanceof Uint8Array;
}

// Buffers have a toJSON of their own, which runs before a replacer sees them.
function fromBuffer(item: unknown): unknown {
  const buffer = item as { type?: unknown; data?: unknown } | null;
  if (typeof item === 'object' && buffer?.type === 'Buffer' && Array.isArray(buffer.data)) {
    return Buffer.from(buffer.data as number[]).toString('base64');
  }
  return item;
}

/** Resolves when the stream has taken the bytes. */
export function write(stream: Writable, content: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(content, (error) => (error ? reject(error) : resolve()));
  });
}
