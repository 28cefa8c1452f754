import type { Algorithm } from '../adapter.ts';

/**
 * What `lastmile doctor` and its throw-away process say to each other. One order goes to the process; what it finds
 * out comes back piece by piece, so that a module that crashes takes only what was not found out yet with it.
 */
export const DoctorFrame = {
  /** broker →: JSON `DoctorOrder`. */
  Order: 1,
  /** ← process: JSON `DoctorFinding`. */
  Finding: 2,
} as const;

export type DoctorOrder =
  | { readonly part: 'inventory'; readonly module: string; readonly libraryParameters?: string | undefined }
  | {
      readonly part: 'examination';
      readonly module: string;
      readonly profile: string;
      readonly serial?: string | undefined;
      readonly label?: string | undefined;
      readonly pin: { readonly file: string };
      /** The most sessions at once. */
      readonly sessions: number;
      /** How long each number of sessions is measured. */
      readonly measureMs: number;
    };

export interface InventoryMechanism {
  readonly name: string;
  readonly minKeySize: number;
  readonly maxKeySize: number;
  /** As the token states them: sign, verify, encrypt, … */
  readonly uses: readonly string[];
}

export interface InventoryToken {
  readonly label: string;
  readonly serial: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly firmware: string;
  readonly initialised: boolean;
  readonly pinInitialised: boolean;
  readonly pinCountLow: boolean;
  readonly pinFinalTry: boolean;
  readonly pinLocked: boolean;
  readonly pinBytes: { readonly least: number; readonly most: number };
  /** Undefined: no limit is stated. */
  readonly maxSessions: number | undefined;
  readonly mechanisms: readonly InventoryMechanism[];
}

export interface Inventory {
  readonly manufacturer: string;
  readonly library: string;
  readonly libraryVersion: string;
  readonly cryptokiVersion: string;
  readonly tokens: readonly InventoryToken[];
  /** Slots that did not answer, by the code they failed with. */
  readonly silentSlots: readonly string[];
}

export interface LoadFinding {
  readonly algorithm: Algorithm;
  readonly sessions: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Signatures that were wrong, and operations that failed, with several sessions at once. */
  readonly wrong: number;
  readonly failed: number;
}

export type DoctorFinding =
  /** What it is about to do: the last one before a crash is what crashed. */
  | { readonly kind: 'step'; readonly step: string }
  | { readonly kind: 'inventory'; readonly inventory: Inventory }
  | {
      readonly kind: 'login';
      readonly outcome: 'accepted' | 'rejected' | 'error' | 'not-tried';
      readonly why?: string;
    }
  | { readonly kind: 'sessions'; readonly opened: number; readonly refusedWith?: string | undefined }
  | {
      readonly kind: 'algorithm';
      readonly algorithm: Algorithm;
      readonly works: boolean;
      /** Call and code where it does not. */
      readonly why?: string | undefined;
    }
  | { readonly kind: 'load'; readonly load: LoadFinding }
  | { readonly kind: 'failed'; readonly why: string }
  | { readonly kind: 'done' };
