import { TlogError } from '../audit/tlog/hash.ts';
import { parseVerifierKey } from '../audit/tlog/note.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole } from './files.ts';

const MAX_FILE_BYTES = 4096;

/**
 * The log's verifier key (C2SP signed-note vkey) as it was given, or from a file as `@FILE`.
 * @throws CliError with exit code 2 when it is none
 */
export async function givenVerifierKey(context: CliContext, given: string): Promise<string> {
  const text = given.startsWith('@')
    ? (await readWhole(context, given.slice(1), MAX_FILE_BYTES)).toString('utf8').trim()
    : given;
  try {
    parseVerifierKey(text);
    return text;
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    throw new CliError(EXIT.usage, `not a verifier key: ${error.message}`, {
      advice:
        'one looks like example.org/lastmile+1a2b3c4d+AbCd…; `lastmile audit checkpoint --json` shows it',
      cause: error,
    });
  }
}
