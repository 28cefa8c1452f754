/** What `lastmile doctor` has found out about a module, and what it makes of it. */
export interface DoctorReport {
  readonly module: string;
  readonly profile: DoctorProfile;
  readonly library: { readonly manufacturer: string; readonly description: string; readonly version: string };
  readonly tokens: readonly DoctorToken[];
  /** Slots that did not answer, by the code they failed with. */
  readonly silentSlots: readonly string[];
  /** Undefined without a PIN. */
  readonly examined: DoctorExamination | undefined;
  /** For lastmile.yaml; undefined when there is no token to recommend it for. */
  readonly recommended: string | undefined;
  /** What to look at, the worst first. */
  readonly findings: readonly string[];
}

export interface DoctorProfile {
  readonly name: string;
  /** Named on the command line, or recognised by what the library says. */
  readonly chosen: 'given' | 'recognised' | 'nothing recognised';
  readonly module: string;
  readonly tested: string;
  readonly transport: string;
  readonly pin: string;
  readonly lockout: string;
  readonly sessions: string;
}

export interface DoctorToken {
  readonly label: string;
  readonly serial: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly firmware: string;
  readonly initialised: boolean;
  readonly pin: 'not set' | 'fine' | 'wrong ones were tried' | 'one try left' | 'locked';
  /** Undefined: no limit is stated. */
  readonly maxSessions: number | undefined;
  readonly mechanisms: readonly {
    readonly name: string;
    readonly minKeySize: number;
    readonly maxKeySize: number;
    readonly uses: readonly string[];
  }[];
}

export interface DoctorExamination {
  readonly token: string;
  readonly login: 'accepted' | 'rejected' | 'error' | 'not-tried';
  readonly loginDetail: string | undefined;
  readonly sessions: { readonly opened: number; readonly refusedWith: string | undefined } | undefined;
  readonly algorithms: readonly {
    readonly algorithm: string;
    readonly works: boolean;
    readonly why: string | undefined;
    /** The profile says otherwise. */
    readonly unexpected: boolean;
  }[];
  readonly loads: readonly {
    readonly algorithm: string;
    readonly sessions: number;
    readonly perSecond: number;
    readonly p50Ms: number;
    readonly p99Ms: number;
    readonly wrong: number;
    readonly failed: number;
  }[];
  /** `crashed` and `hung` with what it was doing. */
  readonly end: 'done' | 'failed' | 'crashed' | 'hung';
  readonly endDetail: string | undefined;
}

export interface DoctorOptions {
  /** Absolute; undefined: SoftHSM2, where the distribution puts it, or the configured token's. */
  readonly module: string | undefined;
  readonly profile: string | undefined;
  readonly label: string | undefined;
  readonly serial: string | undefined;
  /** Absolute. */
  readonly pinFile: string | undefined;
  /** Where the module runs. Absolute. */
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  /** lastmile.yaml and the name of a token in it: everything above is taken from there. */
  readonly config: { readonly path: string; readonly token: string } | undefined;
  readonly sessions: number;
  readonly measureMs: number;
  readonly hangLimitMs: number;
}
