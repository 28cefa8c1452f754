import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { LastmileError } from './errors.ts';

/** Where the workload's own X.509-SVID lies. All three are PEM; whoever rotates them replaces the files. */
export interface SvidFiles {
  /** Leaf first, then intermediates. */
  readonly certificateFile: string;
  /** PKCS#8. */
  readonly keyFile: string;
  /** CA certificates of the broker's trust domain. */
  readonly trustBundleFile: string;
}

/** One consistent reading of the three files. */
export interface Svid {
  readonly certificatePem: Buffer;
  readonly keyPem: Buffer;
  readonly trustBundlePem: Buffer;
  readonly chain: readonly X509Certificate[];
  readonly trustBundle: readonly X509Certificate[];
  readonly privateKey: KeyObject;
  /** SHA-256 over all three files: a change of any is another SVID to connect with. */
  readonly fingerprint: string;
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;
/** How long a reading is trusted before the files are looked at again. */
const CHECK_EVERY_MS = 1000;

function refused(reason: 'SVID_MISSING' | 'SVID_INVALID', message: string, cause?: unknown): LastmileError {
  return new LastmileError(reason, message, { code: 'UNAUTHENTICATED', performed: 'no', cause });
}

async function read(file: string, what: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? 'error';
    throw refused('SVID_MISSING', `cannot read the ${what} \`${file}\`: ${code}`, cause);
  }
}

function certificates(pem: Buffer, file: string): X509Certificate[] {
  const blocks = pem.toString('latin1').match(PEM_CERTIFICATE) ?? [];
  if (blocks.length === 0) throw refused('SVID_INVALID', `\`${file}\` holds no PEM certificate`);
  try {
    return blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw refused('SVID_INVALID', `\`${file}\` holds a certificate that cannot be parsed`, cause);
  }
}

/** @throws LastmileError SVID_MISSING or SVID_INVALID that names the file */
export async function loadSvid(files: SvidFiles): Promise<Svid> {
  const [certificatePem, keyPem, trustBundlePem] = await Promise.all([
    read(files.certificateFile, 'certificate'),
    read(files.keyFile, 'private key'),
    read(files.trustBundleFile, 'trust bundle'),
  ]);
  const chain = certificates(certificatePem, files.certificateFile);
  const trustBundle = certificates(trustBundlePem, files.trustBundleFile);
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(keyPem);
  } catch (cause) {
    throw refused('SVID_INVALID', `\`${files.keyFile}\` holds no private key in PEM`, cause);
  }
  if (!chain[0]!.checkPrivateKey(privateKey)) {
    throw refused(
      'SVID_INVALID',
      `\`${files.keyFile}\` is not the private key of the certificate in \`${files.certificateFile}\``,
    );
  }
  const hash = createHash('sha256');
  for (const pem of [certificatePem, keyPem, trustBundlePem]) hash.update(`${pem.length}:`).update(pem);
  return {
    certificatePem,
    keyPem,
    trustBundlePem,
    chain,
    trustBundle,
    privateKey,
    fingerprint: hash.digest('hex'),
  };
}

/**
 * The newest complete SVID on disk.
 *
 * Files are looked at when somebody asks and the last look is a second old: no watcher, hence nothing to lose on
 * file systems where watching does not work, and nothing that keeps a process alive. While a rotation is half
 * written (the key does not fit the certificate, a file is away) the previous SVID stays in use, and the files
 * are read again at the next look.
 */
export class SvidSource {
  readonly #files: SvidFiles;
  readonly #now: () => number;
  #current: Svid;
  #stamp: string;
  #nextCheck: number;
  #checking: Promise<Svid> | undefined;

  private constructor(files: SvidFiles, now: () => number, svid: Svid, stamp: string) {
    this.#files = files;
    this.#now = now;
    this.#current = svid;
    this.#stamp = stamp;
    this.#nextCheck = now() + CHECK_EVERY_MS;
  }

  /** @param now monotonic milliseconds */
  static async open(files: SvidFiles, now: () => number = () => performance.now()): Promise<SvidSource> {
    // The stamp is taken first: a file that changes while it is read shows as changed at the next look.
    const stamp = await stampOf(files);
    return new SvidSource(files, now, await loadSvid(files), stamp ?? '');
  }

  /** The SVID as last read, or a promise of a newer look when one is due. */
  current(): Svid | Promise<Svid> {
    return this.#now() < this.#nextCheck ? this.#current : this.refresh();
  }

  /** Looks at the files now. Never rejects: what cannot be used yet leaves the previous SVID in place. */
  refresh(): Promise<Svid> {
    this.#checking ??= this.#look().finally(() => {
      this.#checking = undefined;
      this.#nextCheck = this.#now() + CHECK_EVERY_MS;
    });
    return this.#checking;
  }

  async #look(): Promise<Svid> {
    const stamp = await stampOf(this.#files);
    if (stamp === undefined || stamp === this.#stamp) return this.#current;
    try {
      const next = await loadSvid(this.#files);
      this.#current = next;
      this.#stamp = stamp;
    } catch (error) {
      if (!(error instanceof LastmileError)) throw error;
    }
    return this.#current;
  }
}

/** Changes when any of the files is replaced or written; undefined while one is away. */
async function stampOf(files: SvidFiles): Promise<string | undefined> {
  try {
    const stats = await Promise.all(
      [files.certificateFile, files.keyFile, files.trustBundleFile].map((file) =>
        stat(file, { bigint: true }),
      ),
    );
    return stats.map((s) => `${s.dev}/${s.ino}/${s.size}/${s.mtimeNs}/${s.ctimeNs}`).join(' ');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return undefined;
  }
}
