// Original file: broker/proto/lastmile/v1/key_use.proto

import type { SubjectAttribute as _lastmile_v1_SubjectAttribute, SubjectAttribute__Output as _lastmile_v1_SubjectAttribute__Output } from '../../lastmile/v1/SubjectAttribute.ts';

export interface PublicKeyApplicant {
  'spki'?: (Buffer | Uint8Array | string);
  'subject'?: (_lastmile_v1_SubjectAttribute)[];
  'dnsNames'?: (string)[];
  'uris'?: (string)[];
  'emailAddresses'?: (string)[];
  'ipAddresses'?: (string)[];
}

export interface PublicKeyApplicant__Output {
  'spki': (Buffer);
  'subject': (_lastmile_v1_SubjectAttribute__Output)[];
  'dnsNames': (string)[];
  'uris': (string)[];
  'emailAddresses': (string)[];
  'ipAddresses': (string)[];
}
