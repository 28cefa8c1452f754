import { type Algorithm, type KeyPurpose, type KeySpec, specFor } from '../../hsm-adapters/adapter.ts';
import { isKeyName } from '../../policy/key-name.ts';
import { FACTS, parseAlgorithm } from './algorithms.ts';
import { Failure } from './failure.ts';
import type { KeyCatalog, Verification } from './key-catalog.ts';

/** What an operator says of a key that is to be, whether it is made or imported. */
export interface KeyOptions {
  readonly key: string;
  /** Empty: what its algorithms are for. */
  readonly purpose: string;
  readonly algorithms: readonly string[];
  /** Empty: always. */
  readonly verify: string;
  /** Bare messages and digests are signed although a rule of typed signing names the key. Default no. */
  readonly rawSigning?: boolean | undefined;
}

/** The same, understood and allowed. */
export interface KeyPlan {
  readonly name: string;
  readonly purpose: KeyPurpose;
  readonly algorithms: readonly Algorithm[];
  readonly spec: KeySpec;
  readonly verify: Verification;
  readonly rawSigning: boolean;
}

/**
 * Everything that can be refused before a token is asked. `modulusBits`: of an RSA key.
 *
 * @throws Failure REQUEST_INVALID
 */
export function planKey(catalog: KeyCatalog, options: KeyOptions, modulusBits: number): KeyPlan {
  const invalid = (text: string): Failure => new Failure('REQUEST_INVALID', text);
  if (!isKeyName(options.key))
    throw invalid(
      'key name must be segments of a-z, A-Z, 0-9, dot, dash and underscore, with slashes between',
    );
  if (catalog.versions(options.key).length > 0) throw invalid(`key ${options.key} exists already`);
  const algorithms = options.algorithms.map((name) => {
    const algorithm = parseAlgorithm(name);
    if (algorithm === undefined)
      throw invalid(
        `algorithm ${JSON.stringify(name.slice(0, 32))} is not known: use JOSE's names, such as ES256`,
      );
    return algorithm;
  });
  const [first] = algorithms;
  if (first === undefined) throw invalid('a key needs at least one algorithm');
  const purpose = FACTS[first].purpose;
  if (options.purpose !== '' && options.purpose !== purpose)
    throw invalid(`${first} is for ${purpose}, not ${options.purpose.slice(0, 32)}`);
  const spec = specFor(first, modulusBits);
  if (spec.type === 'rsa' && ![2048, 3072, 4096].includes(spec.modulusBits))
    throw invalid('an RSA key has 2048, 3072 or 4096 bits');
  if (new Set(algorithms).size !== algorithms.length) throw invalid('an algorithm is named twice');
  const isRsaSignature = spec.type === 'rsa' && purpose === 'sign';
  if (
    algorithms.length > 1 &&
    !(
      isRsaSignature &&
      algorithms.every(
        (a) => a.startsWith('RS2') || a.startsWith('RS3') || a.startsWith('RS5') || a.startsWith('PS'),
      )
    )
  ) {
    throw invalid('a key is for one algorithm; only RSA signature keys may have several');
  }
  const verify = options.verify === '' ? 'always' : options.verify;
  if (verify !== 'always' && verify !== 'sampled' && verify !== 'never')
    throw invalid('verify must be always, sampled or never');
  if (verify !== 'always' && (spec.type === 'rsa' || spec.type === 'ed25519')) {
    throw invalid(`verify: ${verify} is refused for ${spec.type}: one faulty signature can leak the key`);
  }
  const rawSigning = options.rawSigning === true;
  if (rawSigning && purpose !== 'sign') throw invalid('raw_signing is for keys that sign');
  return { name: options.key, purpose, algorithms, spec, verify, rawSigning };
}

/** Whether an object that is there is one that the algorithm takes: a MAC key may be longer than the hash, not shorter. */
export function fits(found: KeySpec, needed: KeySpec): boolean {
  switch (needed.type) {
    case 'hmac':
      return found.type === 'hmac' && found.bytes >= needed.bytes;
    case 'ec':
      return found.type === 'ec' && found.curve === needed.curve;
    case 'rsa':
      return found.type === 'rsa' && found.modulusBits === needed.modulusBits;
    case 'aes':
      return found.type === 'aes' && found.bytes === needed.bytes;
    case 'ed25519':
      return found.type === 'ed25519';
    default:
      return needed satisfies never;
  }
}
