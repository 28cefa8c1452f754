import { readFileSync } from 'node:fs';
import type { PermissionScope } from '../../../../hsm-adapters/frames/child-side.ts';

/** What an intruder would like to have. Read before any permission is dropped, as the program loads. */
export interface Targets {
  readonly pinFile: string;
  readonly stateDirectory: string;
  readonly stateFile: string;
  /** Writable for every user: only its permissions keep a child from writing there. */
  readonly scratch: string;
  readonly addOn: string;
  readonly tcpPort: number;
  readonly unixSocket: string;
  /** A process of another role. */
  readonly siblingPid: number;
  /** What the real program of each role drops. */
  readonly drops: Readonly<Record<string, readonly PermissionScope[]>>;
}

/** Lies beside this file. */
export function readTargets(): Targets {
  return JSON.parse(readFileSync(new URL('targets.json', import.meta.url), 'utf8')) as Targets;
}
