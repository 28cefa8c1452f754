// Original file: broker/proto/lastmile/v1/admin.proto


export interface ListFreezesRequest {
}

export interface ListFreezesRequest__Output {
}
