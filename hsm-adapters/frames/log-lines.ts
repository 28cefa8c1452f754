import type { Readable } from 'node:stream';

const MAX_LINE_BYTES = 2048;
const MAX_LINES_PER_WINDOW = 200;
const WINDOW_MS = 10_000;

/**
 * Hands on what a child prints, line by line. A child may have been taken over: lines are cut, control characters
 * escaped (a terminal or a log viewer interprets them), and what exceeds 200 lines in 10 s is counted, not kept.
 */
export function forwardLines(stream: Readable, line: (text: string) => void, now: () => number): void {
  let rest: Buffer = EMPTY;
  let skipping = false;
  let windowStart = now();
  let inWindow = 0;
  let dropped = 0;

  const emit = (bytes: Buffer) => {
    const at = now();
    if (at - windowStart >= WINDOW_MS) {
      if (dropped > 0) line(`(${dropped} lines left out)`);
      windowStart = at;
      inWindow = 0;
      dropped = 0;
    }
    inWindow += 1;
    if (inWindow > MAX_LINES_PER_WINDOW) dropped += 1;
    else if (bytes.length > 0) line(printable(bytes.toString('utf8')));
  };

  stream.on('data', (chunk: Buffer) => {
    let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10)) {
      if (!skipping) emit(data.subarray(0, Math.min(end, MAX_LINE_BYTES)));
      skipping = false;
      data = data.subarray(end + 1);
    }
    if (skipping) data = EMPTY;
    else if (data.length > MAX_LINE_BYTES) {
      emit(data.subarray(0, MAX_LINE_BYTES));
      skipping = true;
      data = EMPTY;
    }
    rest = data.length === 0 ? EMPTY : Buffer.from(data);
  });
  stream.on('close', () => {
    if (rest.length > 0) emit(rest);
    if (dropped > 0) line(`(${dropped} lines left out)`);
  });
  // The pipe of a child that died may end in an error; its end is reported by the process itself.
  stream.on('error', (error) => line(`(output ended: ${error.message})`));
}

function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

const EMPTY: Buffer = Buffer.alloc(0);
