/** The log, with the key on a token that signs its checkpoints, and what the broker remembers of what that key signed. */
import { join } from 'node:path';
import { FileStorage } from '../audit/file-storage.ts';
import { openAuditLog, type Sequencer } from '../audit/sequencer.ts';
import { formatVerifierKey, makeVerifierKey } from '../audit/tlog/note.ts';
import type { LastmileConfig } from '../config.ts';
import { Failure } from '../keyuse/failure.ts';
import type { KeyCatalog, TokenObject } from '../keyuse/key-catalog.ts';
import type { TokenKeys } from '../keyuse/token-keys.ts';
import { SignedTreeMemory } from '../state/signed-tree-memory.ts';
import type { StateStore } from '../state/state-store.ts';
import type { Log } from '../telemetry/log.ts';

export interface SignedLog {
  readonly audit: Sequencer;
  /** Of the key that signs; empty until one is connected. */
  verifierKey(): string;
  /** Takes the log's key from a token, if there is one in the catalog. Call again after it was made. */
  connectSigner(keys: TokenKeys): void;
  /** To be awaited before the tokens are closed: the last checkpoint is signed by one of them. */
  close(): Promise<void>;
}

const SIGN_CHECKPOINT_MS = 5000;

/** Verifier key of a log whose checkpoints this object signs, in the form of signed notes. */
export function verifierKeyOf(origin: string, { publicKey }: Pick<TokenObject, 'publicKey'>): string {
  // An Ed25519 SubjectPublicKeyInfo ends in the 32 bytes of the key (RFC 8410, section 4).
  return formatVerifierKey(makeVerifierKey(origin, publicKey.slice(-32)));
}

/** Opens the log where it ended. One that cannot be gone on with is open all the same, and says so in `failure`. */
export async function openSignedLog(options: {
  readonly config: Pick<LastmileConfig, 'audit' | 'state'>;
  readonly store: StateStore;
  readonly catalog: KeyCatalog;
  readonly log: Log;
}): Promise<SignedLog> {
  const { config, store, catalog, log } = options;
  const { origin, key } = config.audit;
  const signedTrees = new SignedTreeMemory(store, origin);
  const rememberSigned = (write: () => void): void => {
    try {
      write();
    } catch (error) {
      // The checkpoint itself is on disk: what is lost is that a log without it would be found out.
      log('warn', 'the newest signed tree cannot be remembered', { error: String(error) });
    }
  };
  const audit = await openAuditLog({
    storage: new FileStorage(config.audit.directory),
    origin,
    // The catalog comes before the log: a history that none of these keys signed is not to be signed by one of them.
    verifierKeys: catalog
      .versions(key)
      .flatMap(({ objects }) => objects.map((object) => verifierKeyOf(origin, object))),
    signedTree: signedTrees.last,
    onSigned: (tree) => rememberSigned(() => signedTrees.signed(tree)),
    indexPath: join(config.state, 'audit-index.db'),
    onWarning: (message, error) => log('warn', message, { error: String(error) }),
    limits: {
      publishIntervalMs: config.audit.checkpointIntervalMs,
      windowMs: config.audit.refusalWindowMs,
      quotaBytesPerHour: config.audit.refusalQuotaBytesPerHour,
    },
  });
  let verifierKey = '';
  return {
    audit,
    verifierKey: () => verifierKey,
    connectSigner: (keys) => {
      const version = catalog.find(key, 0);
      const object = version?.objects[0];
      if (version === undefined || object === undefined) return;
      verifierKey = verifierKeyOf(origin, object);
      audit.setSigner({
        verifierKey,
        sign: async (bytes) => {
          const binding = keys
            .bindings(version.id)
            .find(({ token }) => token.info?.serial === object.tokenSerial);
          if (binding === undefined)
            throw new Failure('TOKEN_UNREACHABLE', 'the token with the key of the log cannot be reached');
          return binding.token.sign(
            { object: binding.object, algorithm: 'Ed25519', data: bytes },
            { deadline: performance.now() + SIGN_CHECKPOINT_MS },
          );
        },
      });
    },
    close: async () => {
      await audit.close();
      rememberSigned(() => signedTrees.flush());
    },
  };
}
