// Original file: broker/proto/lastmile/v1/approvals.proto

import type { WebauthnAssertion as _lastmile_v1_WebauthnAssertion, WebauthnAssertion__Output as _lastmile_v1_WebauthnAssertion__Output } from '../../lastmile/v1/WebauthnAssertion.ts';

export interface ApproveRequest {
  'id'?: (string);
  'approver'?: (string);
  'sshsig'?: (string);
  'jws'?: (string);
  'webauthn'?: (_lastmile_v1_WebauthnAssertion | null);
  'signature'?: "sshsig"|"jws"|"webauthn";
}

export interface ApproveRequest__Output {
  'id': (string);
  'approver': (string);
  'sshsig'?: (string);
  'jws'?: (string);
  'webauthn'?: (_lastmile_v1_WebauthnAssertion__Output | null);
  'signature'?: "sshsig"|"jws"|"webauthn";
}
