import { type LoadedPolicy, MAX_POLICY_BYTES } from '../../policy/load.ts';
import { readPolicyText } from '../../policy/policy-text.ts';
import { parseYamlSource } from '../../policy/source.ts';
import type { SourceIssue } from '../../policy/source-issue.ts';
import { Failure } from '../keyuse/failure.ts';

/**
 * What makes a certificate profile unusable as a whole, each where it stands: a policy with one is not taken up, rather
 * than failing at the first certificate. What reads certificates is loaded by the first policy that has a profile.
 */
export async function profileIssues(
  bytes: Uint8Array,
  file: string | undefined,
  { certificateProfiles }: Pick<LoadedPolicy, 'certificateProfiles'>,
): Promise<readonly SourceIssue[]> {
  if (certificateProfiles.length === 0) return [];
  const [{ checkProfile }, { issuersOf }] = await Promise.all([
    import('../typed/certificate-lint.ts'),
    import('../typed/issuer.ts'),
  ]);
  const found: { readonly path: readonly (string | number)[]; readonly message: string }[] = [];
  const attempt = (path: readonly (string | number)[], run: () => unknown): void => {
    try {
      run();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      found.push({ path, message: error.message });
    }
  };
  for (const [i, profile] of certificateProfiles.entries()) {
    const path = ['certificateProfiles', i];
    const before = found.length;
    if (profile.issuer !== 'self') attempt([...path, 'issuer'], () => issuersOf(profile));
    // It reads the issuer as well: what is wrong there is told once.
    if (found.length === before) attempt(path, () => checkProfile(profile));
  }
  if (found.length === 0) return [];
  const parsed = parseYamlSource(bytes, { file, maxBytes: MAX_POLICY_BYTES });
  if (!parsed.ok) return parsed.issues;
  return found.map(({ path, message }) => parsed.source.issue(path, message));
}

/** The same of a file, for who has not read it yet; nothing when it is not a policy at all. */
export async function profileIssuesOf(bytes: Uint8Array, file: string): Promise<readonly SourceIssue[]> {
  const { loaded } = readPolicyText(bytes, { file });
  return loaded.issues.length > 0 ? [] : profileIssues(bytes, file, loaded);
}
