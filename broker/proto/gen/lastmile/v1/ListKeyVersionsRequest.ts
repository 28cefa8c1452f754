// Original file: broker/proto/lastmile/v1/admin.proto


export interface ListKeyVersionsRequest {
}

export interface ListKeyVersionsRequest__Output {
}
