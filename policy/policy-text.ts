import { type LoadedPolicy, loadPolicySource, MAX_POLICY_BYTES, type PolicyOptions } from './load.ts';
import { parseYamlSource } from './source.ts';

/** The values of a policy file, as people wrote them. */
export type PolicyDocument = Readonly<Record<string, unknown>>;

/** A policy file as it was written, beside what was loaded of it. */
export interface PolicyText {
  readonly loaded: LoadedPolicy;
  /** Its values; empty when it could not be read. */
  readonly document: PolicyDocument;
}

/** Never throws for anything the bytes hold: `loaded.issues` has what is wrong. */
export function readPolicyText(bytes: Uint8Array, options: PolicyOptions = {}): PolicyText {
  const parsed = parseYamlSource(bytes, { file: options.file, maxBytes: MAX_POLICY_BYTES });
  const loaded = loadPolicySource(parsed, options);
  return { loaded, document: parsed.ok && isMap(parsed.source.value) ? parsed.source.value : {} };
}

export function isMap(value: unknown): value is PolicyDocument {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
