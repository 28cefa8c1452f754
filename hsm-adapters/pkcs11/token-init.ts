import fs from 'node:fs';
import { type ChildUser, dropPrivileges } from '../frames/child-side.ts';
import { initialiseToken } from './initialise-token.ts';
import { Pin } from './login.ts';

/**
 * A process of its own for `initialiseToken`, so that no module is loaded where it does not belong.
 *
 * Standard input: JSON `{ module, label, soPinFile, pinFile, user?: { uid, gid, groups } }`. The PIN files are
 * read first; then the process becomes `user`, so that what the module writes belongs to the token's worker.
 * Working directory and environment are the caller's affair (SoftHSM: SOFTHSM2_CONF). Standard output: JSON
 * `{ serial, label }`. Exit code 1 and one line on standard error when it failed.
 */
interface TokenInitRequest {
  readonly module: string;
  readonly label: string;
  readonly soPinFile: string;
  readonly pinFile: string;
  readonly user?: ChildUser | undefined;
}

function readRequest(): TokenInitRequest {
  const request: unknown = JSON.parse(fs.readFileSync(0, 'utf8'));
  const { module, label, soPinFile, pinFile, user } = (request ?? {}) as Record<string, unknown>;
  for (const [name, value] of Object.entries({ module, label, soPinFile, pinFile })) {
    if (typeof value !== 'string' || value === '') throw new Error(`the request has no \`${name}\``);
  }
  return { module, label, soPinFile, pinFile, user } as TokenInitRequest;
}

try {
  const request = readRequest();
  const soPin = Pin.read({ file: request.soPinFile });
  const pin = Pin.read({ file: request.pinFile });
  dropPrivileges(request.user);
  const made = soPin.use((so) =>
    pin.use((user) =>
      initialiseToken({ module: request.module, label: request.label, soPin: so, pin: user }),
    ),
  );
  process.stdout.write(`${JSON.stringify(made)}\n`);
} catch (error) {
  process.stderr.write(`token not initialised: ${error instanceof Error ? error.message : 'not an error'}\n`);
  process.exitCode = 1;
}
