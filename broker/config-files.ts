/** What lastmile.yaml refers to: is it there, who else can read or change it, and is it made for development? */
import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, type Stats, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { YamlPath } from '../policy/source.ts';

/** Stands beside everything that `lastmile init` makes for development. */
export const DEVELOPMENT_MARKER = 'DEVELOPMENT';

export type FileFinding = string | undefined;

/** Where findings go. */
export interface Findings {
  /** Nothing for `undefined`. */
  add(path: YamlPath, message: FileFinding, expected?: string): void;
}

export function findMissing(path: string): FileFinding {
  const found = status(path);
  if (found === undefined) return `there is no file ${path}`;
  return found.isFile() ? undefined : `${path} is not a file`;
}

/** A secret must be the broker's or root's, and nobody else's to read. Nothing is found about what is not there. */
export function findExposed(path: string): FileFinding {
  const found = status(path);
  if (found === undefined) return undefined;
  if (!found.isFile()) return `${path} is not a file`;
  const mode = found.mode & 0o777;
  if ((mode & 0o077) !== 0) {
    return `${path} can be read or changed by others (mode ${mode.toString(8).padStart(4, '0')}): run \`chmod 600 ${path}\``;
  }
  const owner = foreignOwner(found);
  return owner === undefined ? undefined : `${path} belongs to user ${owner}, who can read it`;
}

/** What decides must not be changed by others. `groups`: not by the file's group either. */
export function findChangeable(path: string, groups: boolean): FileFinding {
  const found = status(path);
  if (found === undefined) return undefined;
  const mode = found.mode & 0o777;
  if ((mode & (groups ? 0o022 : 0o002)) !== 0) {
    return `${path} can be changed by others (mode ${mode.toString(8).padStart(4, '0')}): run \`chmod go-w ${path}\``;
  }
  const owner = foreignOwner(found);
  return owner === undefined ? undefined : `${path} belongs to user ${owner}, who can change it`;
}

export function findDevelopmentMarker(path: string): FileFinding {
  const marker = join(dirname(path), DEVELOPMENT_MARKER);
  return existsSync(marker)
    ? `${path} was made for development (${marker} says so) and is refused in production`
    : undefined;
}

/** Roots whose name says that they are for development, in case the marker was left behind. */
export function findDevelopmentRoot(path: string): FileFinding {
  const certificates = readFileSync(path, 'latin1').match(
    /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g,
  );
  if (certificates === null) return `${path} holds no PEM certificate`;
  for (const pem of certificates) {
    let subject: string;
    try {
      ({ subject } = new X509Certificate(pem));
    } catch (error) {
      return `${path} holds a certificate that cannot be read: ${error instanceof Error ? error.message : String(error)}`;
    }
    if (/\bdevelopment\b/i.test(subject)) {
      return `${path} holds a development root (${subject.replaceAll('\n', ', ')}), which is refused in production`;
    }
  }
  return undefined;
}

function status(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}

function foreignOwner(found: Stats): number | undefined {
  const own = process.getuid?.();
  return own === undefined || found.uid === own || found.uid === 0 ? undefined : found.uid;
}
