import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ByteSource } from './byte-source.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { write } from './output.ts';

/** @param file a path, or `-` or undefined for standard input */
export function openInput(context: CliContext, file: string | undefined): ByteSource {
  if (file === undefined || file === '-') return new ByteSource(context.stdin);
  return new ByteSource(readable(context, file));
}

async function* readable(context: CliContext, file: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of createReadStream(resolve(context.cwd, file))) yield chunk as Buffer;
  } catch (cause) {
    throw cannotRead(file, cause);
  }
}

/** A file that is read whole: a signature, a public key, a policy. */
export async function readWhole(context: CliContext, file: string, maxBytes: number): Promise<Buffer> {
  let content: Buffer;
  try {
    content = await readFile(resolve(context.cwd, file));
  } catch (cause) {
    throw cannotRead(file, cause);
  }
  if (content.length > maxBytes)
    throw new CliError(EXIT.usage, `\`${file}\` is larger than ${maxBytes} bytes`);
  return content;
}

/** All of an input that is sent as it is. */
export async function readAtMost(source: ByteSource, maxBytes: number, tooLarge: string): Promise<Buffer> {
  const content = await source.read(maxBytes + 1);
  if (content.length > maxBytes) throw new CliError(EXIT.usage, tooLarge);
  return content;
}

function cannotRead(file: string, cause: unknown): CliError {
  return new CliError(EXIT.usage, `cannot read \`${file}\`: ${(cause as NodeJS.ErrnoException).code}`, {
    cause,
  });
}

/**
 * Writes all of `content`, or nothing: a file appears under its name when it is whole, and an older one stays until
 * then. Standard output cannot be taken back; there, what came before a failure has been written.
 *
 * @param file a path, or `-` or undefined for standard output
 * @param mode of a new file; a plaintext is for its owner alone
 * @returns bytes written
 */
export async function writeOutput(
  context: CliContext,
  file: string | undefined,
  content: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  mode: number = 0o644,
): Promise<number> {
  let written = 0;
  if (file === undefined || file === '-') {
    for await (const piece of content) {
      await write(context.stdout, piece);
      written += piece.length;
    }
    return written;
  }
  const path = resolve(context.cwd, file);
  const isReplaceable = await isRegularOrAbsent(path);
  const temporary = isReplaceable
    ? join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`)
    : path;
  try {
    const handle = await open(temporary, isReplaceable ? 'wx' : 'w', mode);
    try {
      for await (const piece of content) {
        await handle.writeFile(piece);
        written += piece.length;
      }
    } finally {
      await handle.close();
    }
    if (isReplaceable) await rename(temporary, path);
  } catch (cause) {
    if (isReplaceable) await rm(temporary, { force: true });
    // Whatever the content failed with is the caller's to explain; only the file system's own errors are ours.
    if ((cause as NodeJS.ErrnoException).syscall === undefined) throw cause;
    throw new CliError(EXIT.failed, `cannot write \`${file}\`: ${(cause as NodeJS.ErrnoException).code}`, {
      cause,
    });
  }
  return written;
}

/** False for devices and pipes, such as /dev/stdout, which are written to as they are. */
async function isRegularOrAbsent(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return true;
  }
}
