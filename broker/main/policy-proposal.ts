import { createHash } from 'node:crypto';
import type { ActContent } from '../approvals/act.ts';
import type { Petition } from '../approvals/approvals.ts';

/** As JSON; above it, approvers get the text beside the act. */
const MAX_SHOWN_BYTES = 16 * 1024;
const MAX_ATTACHED_BYTES = 1024 * 1024;
const CUT = '\n(cut here: read the whole of the proposed policy)\n';

/**
 * What approvers of another policy are shown: both hashes and everything that differs. Made again when it is activated,
 * so that an approval is for this change of this policy: once another one is in force, it serves for nothing.
 */
export function showPolicyChange(
  before: string,
  after: string,
  differences: readonly string[],
): Pick<Petition, 'content' | 'attachment'> {
  const text = `in force: ${before}\nproposed: ${after}\n${differences.join('\n')}\n`;
  const content: ActContent = { kind: 'shown', type: 'policy', text, sha256: sha256(Buffer.from(text)) };
  if (Buffer.byteLength(JSON.stringify(content)) <= MAX_SHOWN_BYTES) return { content };
  let attachment = Buffer.from(text);
  if (attachment.length > MAX_ATTACHED_BYTES) {
    // The hash of the whole stands in the first lines.
    attachment = Buffer.concat([
      attachment.subarray(0, MAX_ATTACHED_BYTES - Buffer.byteLength(CUT)),
      Buffer.from(CUT),
    ]);
  }
  return { content: { kind: 'attached', sha256: sha256(attachment), bytes: attachment.length }, attachment };
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64url');
}
