import { Option } from 'commander';
import type { CliContext } from './context.ts';

/** How short binary results are shown. */
export type Encoding = 'binary' | 'base64' | 'base64url' | 'hex';

export function encodingOption(): Option {
  return new Option('--encoding <name>', 'of the result; default: binary, base64 on a terminal').choices([
    'binary',
    'base64',
    'base64url',
    'hex',
  ]);
}

/** A terminal gets no raw bytes unless it is asked for by name. */
export function encodeResult(
  context: CliContext,
  bytes: Uint8Array,
  encoding: Encoding | undefined,
  out: string | undefined,
): Uint8Array {
  const toTerminal = (out === undefined || out === '-') && context.stdout.isTTY === true;
  const chosen = encoding ?? (toTerminal ? 'base64' : 'binary');
  return chosen === 'binary' ? bytes : Buffer.from(`${Buffer.from(bytes).toString(chosen)}\n`);
}
