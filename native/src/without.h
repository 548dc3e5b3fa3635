/* What a build for a small chip leaves out: -DFDL_WITHOUT_NAME. Calls that need it return
 * FDL_E_ABSENT, or FDL_E_BATCH for a batch of more than one. */
#ifndef FDL_WITHOUT_H
#define FDL_WITHOUT_H

#ifdef FDL_WITHOUT_CONV
#define FDL_HAS_CONV 0
#else
#define FDL_HAS_CONV 1
#endif
#ifdef FDL_WITHOUT_DEPTHWISE
#define FDL_HAS_DEPTHWISE 0
#else
#define FDL_HAS_DEPTHWISE 1
#endif
#ifdef FDL_WITHOUT_POOLS
#define FDL_HAS_POOLS 0
#else
#define FDL_HAS_POOLS 1
#endif
#ifdef FDL_WITHOUT_SIGMOID
#define FDL_HAS_SIGMOID 0
#else
#define FDL_HAS_SIGMOID 1
#endif
#ifdef FDL_WITHOUT_VALUES /* the losses squared and reconstruction */
#define FDL_HAS_VALUES 0
#else
#define FDL_HAS_VALUES 1
#endif
#ifdef FDL_WITHOUT_MOMENTUM
#define FDL_HAS_MOMENTUM 0
#else
#define FDL_HAS_MOMENTUM 1
#endif
#ifdef FDL_WITHOUT_CLIP
#define FDL_HAS_CLIP 0
#else
#define FDL_HAS_CLIP 1
#endif
#ifdef FDL_WITHOUT_BATCH /* more than one example a step */
#define FDL_HAS_BATCH 0
#else
#define FDL_HAS_BATCH 1
#endif

/* Rows of an odd number of weights, or weights that begin at an odd multiple of two bytes. */
#ifdef FDL_WITHOUT_ODD_ROWS
#define FDL_HAS_ODD_ROWS 0
#else
#define FDL_HAS_ODD_ROWS 1
#endif

/* Anything but dense layers. */
#define FDL_HAS_SHAPES (FDL_HAS_CONV || FDL_HAS_DEPTHWISE || FDL_HAS_POOLS)

/* Layers of more than one window, or what looks at a gradient before it is applied. */
#define FDL_HAS_GRADIENT                                                                           \
    (FDL_HAS_CONV || FDL_HAS_DEPTHWISE || FDL_HAS_BATCH || FDL_HAS_MOMENTUM || FDL_HAS_CLIP)

#endif
