// Original file: broker/proto/lastmile/v1/key_use.proto

export const SignatureFormat = {
  SIGNATURE_FORMAT_RAW: 0,
  SIGNATURE_FORMAT_DER: 1,
} as const;

export type SignatureFormat =
  | 'SIGNATURE_FORMAT_RAW'
  | 0
  | 'SIGNATURE_FORMAT_DER'
  | 1

export type SignatureFormat__Output = typeof SignatureFormat[keyof typeof SignatureFormat]
