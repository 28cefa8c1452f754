// Original file: broker/proto/lastmile/v1/key_use.proto


export interface ListKeysRequest {
}

export interface ListKeysRequest__Output {
}
