/** New keys that people have to agree to: `lifecycle` of the policy. */
import { createHash } from 'node:crypto';
import type { PolicySet } from '../../policy/decision.ts';
import type { ActContent } from '../approvals/act.ts';
import type { Approvals, ApprovalUse } from '../approvals/approvals.ts';
import { canonicalize } from '../audit/canonical.ts';
import { Failure } from '../keyuse/failure.ts';
import type { CreateKeyRequest__Output } from '../proto/gen/lastmile/v1/CreateKeyRequest.ts';
import type { ImportKeyRequest__Output } from '../proto/gen/lastmile/v1/ImportKeyRequest.ts';

/** As JSON: what an act can show. */
const MAX_SHOWN_BYTES = 16 * 1024;

export interface KeyRequest {
  readonly method: 'Admin.CreateKey' | 'Admin.ImportKey';
  /** SPIFFE ID of the operator. */
  readonly requester: string;
  readonly key: string;
  /** Everything that says which key there will be; plain values. */
  readonly wanted: { readonly [name: string]: unknown };
}

/**
 * Takes the approval that the policy wants for this very key; undefined when it wants none. Made anew from the request
 * each time, so that an approval is for the key that was asked for.
 *
 * @throws Failure APPROVAL_REQUIRED with `approval`; BUSY when nobody can be asked
 */
export async function agreementToKey(
  { method, requester, key, wanted }: KeyRequest,
  policy: PolicySet,
  approvals: Pick<Approvals, 'take'> | undefined,
): Promise<ApprovalUse | undefined> {
  const allowance = policy.lifecycleQuorum(method, key);
  if (allowance === undefined) return undefined;
  if (approvals === undefined) throw new Failure('BUSY', 'approvals cannot be looked up now');
  const text = canonicalize({ key, ...wanted });
  const content: ActContent = { kind: 'shown', type: 'key', text, sha256: sha256(text) };
  if (Buffer.byteLength(JSON.stringify(content)) > MAX_SHOWN_BYTES)
    throw new Failure('REQUEST_INVALID', 'the request is larger than what approvers can be shown');
  return approvals.take({
    requester,
    operation: method,
    key,
    version: 0,
    algorithm: '',
    content,
    allowance,
    catalogEntry: '',
  });
}

export function createdKey(request: CreateKeyRequest__Output): KeyRequest['wanted'] {
  const { key: _key, purpose, algorithms, tokens, modulusBits, verify, rawSigning, ...rest } = request;
  // A field that is added to the request belongs into the act: this does not compile then.
  rest satisfies Record<string, never>;
  return { purpose, algorithms, tokens, modulusBits, verify, rawSigning };
}

export function importedKey(request: ImportKeyRequest__Output): KeyRequest['wanted'] {
  const { key: _key, purpose, algorithms, token, verify, rawSigning, source = '', ...one } = request;
  const { wrapped: _wrapped, ckaId: _ckaId, label: _label, ...rest } = one;
  rest satisfies Record<string, never>;
  // Of what is one of several, and so may lie on the prototype of a decoded message.
  const { wrapped } = request;
  return {
    purpose,
    algorithms,
    token,
    verify,
    rawSigning,
    source,
    ...(source === 'ckaId' ? { ckaId: request.ckaId ?? '' } : {}),
    ...(source === 'label' ? { label: request.label ?? '' } : {}),
    ...(wrapped === null || wrapped === undefined
      ? {}
      : {
          wrapped: {
            blobSha256: sha256(wrapped.blob),
            unwrappingKey: wrapped.unwrappingKey,
            mechanism: wrapped.mechanism,
            publicKey: wrapped.publicKeyPem,
          },
        }),
  };
}

function sha256(bytes: string | Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64url');
}
