// Original file: broker/proto/lastmile/v1/admin.proto

import type { Long } from '@grpc/proto-loader';

export interface KeyVersion {
  'key'?: (string);
  'version'?: (number);
  'purpose'?: (string);
  'algorithms'?: (string)[];
  'state'?: (string);
  'createdAt'?: (string);
  'provenance'?: (string);
  'tokens'?: (string)[];
  'provenOn'?: (string)[];
  'verify'?: (string);
  'publicKeyPem'?: (string);
  'kid'?: (string);
  'encryptionsReserved'?: (number | string | Long);
  'decryptOnly'?: (boolean);
  'rawSigning'?: (boolean);
}

export interface KeyVersion__Output {
  'key': (string);
  'version': (number);
  'purpose': (string);
  'algorithms': (string)[];
  'state': (string);
  'createdAt': (string);
  'provenance': (string);
  'tokens': (string)[];
  'provenOn': (string)[];
  'verify': (string);
  'publicKeyPem': (string);
  'kid': (string);
  'encryptionsReserved': (number);
  'decryptOnly': (boolean);
  'rawSigning': (boolean);
}
