import type {
  AdapterReason,
  KeySpec,
  NewObject,
  ObjectQuery,
  Performed,
  TokenInfo,
  WrappedImport,
} from '../adapter.ts';

/**
 * What the broker and a token worker say to each other. Numbers are big-endian; `data` runs to the frame's end.
 *
 * | frame       | direction | payload |
 * | --- | --- | --- |
 * | Start       | broker →  | JSON `WorkerStart` |
 * | Found       | ← worker  | JSON `TokenInfo`: module loaded, token matched, not logged in |
 * | Login       | broker →  | –: the attempt is on record, C_Login may be called, once |
 * | LoggedIn    | ← worker  | JSON `{ outcome: 'accepted' \| 'rejected' \| 'error', ckr? }` and then the pool is open |
 * | Sign        | broker →  | u32 object · u8 algorithm (index in ALGORITHMS) · u32 milliseconds left · data |
 * | Encrypt     | broker →  | u32 object · u32 milliseconds left · u32 associated data length · associated data · data |
 * | Decrypt     | broker →  | u32 object · u8 algorithm · u32 milliseconds left · u16 not this session (0xffff: any) · u8 IV length · IV · u32 associated data length · associated data · data |
 * | Random      | broker →  | u32 milliseconds left · u32 length |
 * | Cancel      | broker →  | –: the id's work is not done if it has not begun; it is answered all the same |
 * | Administer  | broker →  | JSON `AdministrationRequest` (bytes as base64) |
 * | Done        | ← worker  | result bytes; for Encrypt: u16 session · 12-byte IV · sealed |
 * | DoneJson    | ← worker  | JSON result of Administer |
 * | Failed      | ← worker  | JSON `WorkerFailure` |
 * | Gone        | ← worker  | JSON `WorkerFailure`: the whole token failed; the worker exits after it |
 * | Load        | ← worker  | u32 sessions open · u32 sessions lent · u32 queued: at most twice a second, when changed |
 * | Stop        | broker →  | –: finish what runs, C_Finalize only with nothing in flight, exit 0 |
 *
 * Every request is answered exactly once by Done, DoneJson or Failed with its id.
 */
export const WorkerFrame = {
  Start: 1,
  Found: 2,
  Login: 3,
  LoggedIn: 4,
  Sign: 5,
  Encrypt: 6,
  Decrypt: 7,
  Random: 8,
  Cancel: 9,
  Administer: 10,
  Done: 11,
  DoneJson: 12,
  Failed: 13,
  Gone: 14,
  Load: 15,
  Stop: 16,
} as const;

export interface WorkerStart {
  readonly token: string;
  readonly module: string;
  readonly profile: string;
  readonly serial?: string | undefined;
  readonly label?: string | undefined;
  /** Where the PIN comes from: a path, read as the user the worker was started as, or descriptor 5. */
  readonly pin: { readonly file: string } | { readonly descriptor: 5 };
  readonly sessions: number;
}

export interface WorkerFailure {
  readonly reason: AdapterReason;
  readonly performed: Performed;
  readonly message: string;
  readonly ckr?: string | undefined;
}

/** Bytes are base64. Results: the JSON of what `TokenAdministration` resolves to. */
export type AdministrationRequest =
  | { readonly op: 'bind'; readonly ref: number; readonly query: ObjectQuery }
  | { readonly op: 'release'; readonly ref: number }
  | { readonly op: 'generate'; readonly object: NewObject }
  | { readonly op: 'open-replica-transport' }
  | {
      readonly op: 'generate-replicated';
      readonly object: NewObject;
      readonly destinations: readonly string[];
    }
  | {
      readonly op: 'receive-replica';
      readonly transport: number;
      readonly object: NewObject;
      readonly wrappedKek: string;
      readonly wrappedKey: string;
    }
  | { readonly op: 'close-replica-transport'; readonly transport: number }
  | {
      readonly op: 'import-wrapped';
      readonly request: Omit<WrappedImport, 'blob' | 'publicKey'> & {
        readonly blob: string;
        readonly publicKey?: string | undefined;
      };
    }
  | { readonly op: 'destroy'; readonly query: ObjectQuery }
  /** The token's flags again (PIN counters), without a login. */
  | { readonly op: 'inspect' };

export type { KeySpec, TokenInfo };
